"""What binds untrusted programs: the namespaces of the process they are forked from, their own limits and filters.

Whatever of it the kernel refuses raises OSError, and then no program runs.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys

from reckon.sandbox.inside import filter as syscalls
from reckon.sandbox.inside import kernel, scratch
from reckon.sandbox.inside.messages import Job, Setup

OPEN_FILES = 64
DISK_MB = 64
"""What a program's folder may hold, and its largest file."""
HOME = "/program"
"""The folder of a program in namespaces."""
NOBODY = 65534
"""Who programs are when the sandbox is root, as user and as group."""

_NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")


class Bonds:
    """How one zygote binds itself and its children.

    Attributes:
        folder: where programs run, one after the other.
    """

    def __init__(self, setup: Setup) -> None:
        self._namespaces = setup.namespaces
        self._nobody = _can_become_nobody()
        self._keep = _capability_to_read() if self._nobody and not setup.namespaces else None
        self._processes = -1
        self.folder = HOME if setup.namespaces else setup.scratch
        if setup.namespaces:
            self._enter_namespaces()
        elif self._nobody:
            os.chown(self.folder, NOBODY, NOBODY)
        self._parent = 0 if setup.namespaces else os.getpid()  # as its children see it
        os.chdir(self.folder)
        self._open = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _limit(resource.RLIMIT_FSIZE, DISK_MB << 20)
        _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
        _limit(resource.RLIMIT_CORE, 0)
        self._rules = -1
        with contextlib.suppress(OSError):  # without Landlock, whoever is to be bound by it is refused below
            self._rules = kernel.landlock_rules(read=_readable(), write=(".", "/dev/null"))

    def fork(self) -> int:
        """Like ``os.fork``; in namespaces, the child is the first process of its own."""
        if not self._namespaces:
            return os.fork()
        kernel.unshare(kernel.CLONE_NEWPID)
        child = os.fork()
        if child:
            kernel.setns(self._processes, kernel.CLONE_NEWPID)
        return child

    def clear(self) -> None:
        """Empties the folder of what the last program left."""
        scratch.empty(self._open)

    def tie(self) -> None:
        """Makes this child nobody, who ends with its parent. What can be done before its job is known."""
        os.setsid()
        if self._nobody:
            kernel.become(NOBODY, NOBODY)
        if kernel.MACHINE:
            kernel.keep_capability(self._keep)
            kernel.die_with_parent()
            if os.getppid() != self._parent:
                raise ProcessLookupError("the process it was forked from has ended")
            kernel.no_new_privileges()

    def lock_down(self, job: Job) -> int | None:
        """Binds this child. Returns the descriptor of its filter's questions, if it has one."""
        if sys.platform == "linux":  # elsewhere the system refuses to
            _limit(resource.RLIMIT_AS, job.memory_mb << 20)
        # A backstop, should nobody be left to keep the time.
        _limit(resource.RLIMIT_CPU, int(job.timeout_s * (os.cpu_count() or 1)) + 2)
        if job.landlock:
            kernel.landlock(self._rules)
        if not job.seccomp:
            return None
        return kernel.seccomp(syscalls.program(os.getpid()))

    def _enter_namespaces(self) -> None:
        """Goes on in a child in new namespaces that sees no files but those a program may read; the parent waits.

        The child is the first process of its namespace: when it ends, all in it do.
        """
        self._unshare()
        child = os.fork()
        if child:
            os.closerange(0, OPEN_FILES)
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        kernel.die_with_parent()
        self._processes = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        kernel.set_hostname(b"sandbox")
        kernel.make_mounts_private()
        root = "/proc"  # any folder that hides nothing of what is shown
        kernel.mount_tmpfs(root, "size=1m,mode=755")
        for path in _readable():
            _show(path, root + path)
        os.mkdir(root + HOME)
        kernel.change_root(root)
        kernel.make_read_only("/")
        user, group = (NOBODY, NOBODY) if self._nobody else (os.geteuid(), os.getegid())
        kernel.mount_tmpfs(HOME, f"size={DISK_MB}m,nr_inodes={scratch.MOST_ENTRIES},mode=700,uid={user},gid={group}")

    def _unshare(self) -> None:
        """New namespaces, in which this user keeps its number and nobody exists too, if programs are to be nobody.

        Only a process outside may give a namespace two users, so a child waits there to do it.
        """
        me, uid, gid, (ready, go) = os.getpid(), os.geteuid(), os.getegid(), os.pipe()
        nobody = f"\n{NOBODY} {NOBODY} 1" if self._nobody else ""
        helper = os.fork()
        if helper == 0:
            os.close(go)
            try:
                if os.read(ready, 1):
                    if not nobody:
                        _write(f"/proc/{me}/setgroups", "deny")
                    _write(f"/proc/{me}/gid_map", f"{gid} {gid} 1{nobody}")
                    _write(f"/proc/{me}/uid_map", f"{uid} {uid} 1{nobody}")
                os._exit(0)
            except OSError as error:
                os._exit(error.errno or 1)
        try:
            kernel.unshare(_NAMESPACES)
            os.write(go, b"!")
        finally:
            os.close(go)
            os.close(ready)
            _, status = os.waitpid(helper, 0)
        if code := os.waitstatus_to_exitcode(status):
            raise OSError(code, f"uid_map: {os.strerror(code)}")


def _readable() -> list[str]:
    """What of the machine a program may read: the standard library, and the shared libraries below it."""
    own = (os.path.join(sys.base_prefix, name) for name in ("lib", "lib64"))
    return [path for path in dict.fromkeys((*own, *_LIBRARIES, *_DEVICES)) if os.path.exists(path)]


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _show(source: str, target: str) -> None:
    """Shows a file, folder or symbolic link of the machine below the new root."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        _write(target, "")
    kernel.bind(source, target)


def _limit(what: int, value: int) -> None:
    """Sets a limit on resources, or leaves one that is lower."""
    _, most = resource.getrlimit(what)
    value = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(what, (value, value))


def _can_become_nobody() -> bool:
    """Whether this is root with the right to become another, where nobody exists (not so in every container)."""
    if not kernel.MACHINE or os.geteuid() != 0:
        return False
    if not (kernel.has_capability(kernel.CAP_SETUID) and kernel.has_capability(kernel.CAP_SETGID)):
        return False
    return all(_maps(f"/proc/self/{kind}_map", NOBODY) for kind in ("uid", "gid"))


def _maps(path: str, number: int) -> bool:
    """Whether a user or group of this number exists in this user namespace."""
    with open(path, encoding="ascii") as file:
        ranges = [(int(first), int(length)) for first, _, length in (line.split() for line in file)]
    return any(first <= number < first + length for first, length in ranges)


def _capability_to_read() -> int | None:
    """What root must keep to read the standard library as nobody: None where everyone may read it."""
    child = os.fork()
    if child == 0:
        kernel.become(NOBODY, NOBODY)
        os._exit(0 if os.access(os.__file__, os.R_OK) else 1)
    _, status = os.waitpid(child, 0)
    if status == 0:
        return None
    searching = kernel.has_capability(kernel.CAP_DAC_READ_SEARCH)
    return kernel.CAP_DAC_READ_SEARCH if searching else kernel.CAP_DAC_OVERRIDE
