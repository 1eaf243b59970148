"""The Linux calls the jail is built from, which Python's library lacks, and their numbers.

Everything here raises OSError where the kernel refuses or does not know a call; nothing degrades silently. Standard
library only: the process that holds untrusted programs imports this and little else.

Sources: the kernel's user-space headers (``linux/landlock.h``, ``linux/sched.h``, ``linux/mount.h``,
``linux/prctl.h``, ``linux/capability.h``) and the manual pages landlock(7), namespaces(7), pivot_root(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable

MACHINE = platform.machine() if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else ""
"""The processor; empty where the jail has no table of calls for it, and where the system is not Linux."""

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x4_0000
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 0x1, 0x2
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NO_NEW_PRIVS = 1, 8, 38
_CAPABILITY_VERSION_3 = 0x2008_0522
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETUID = 1, 2, 6, 7

_NUMBERS = {
    "x86_64": {"pivot_root": 155, "capget": 125, "capset": 126, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "capget": 90, "capset": 91, "seccomp": 277},
}.get(MACHINE, {}) | {  # the newer calls have one number on every machine
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def _call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A function of the C library, where it has one of that name, else the system call of that name."""
    if not MACHINE:
        raise OSError(errno.ENOSYS, f"{name}: this machine is no Linux on x86_64 or aarch64")
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    if name in _NUMBERS:
        return _checked(name, _libc.syscall(ctypes.c_long(_NUMBERS[name]), *wide))
    return _checked(name, getattr(_libc, name)(*wide))


# ------------------------------------------------------------------------------------------------- processes


def die_with_parent() -> None:
    """SIGKILL for this process when its parent ends. A change of identity undoes it, so it comes after that."""
    _call("prctl", _PR_SET_PDEATHSIG, 9, 0, 0, 0)


def no_new_privileges() -> None:
    """No program this process starts can gain rights; without it the kernel takes no filter from the unprivileged."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def become(uid: int, gid: int) -> None:
    """From root to another identity for good, without groups. Capabilities stay until they are dropped."""
    _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def keep_capability(capability: int | None) -> None:
    """Drops every capability but this one."""
    mask = 0 if capability is None else 1 << capability
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _call("capset", header, struct.pack("=6I", mask, mask, 0, 0, 0, 0))


def has_capability(capability: int) -> bool:
    """Whether this process may use a capability."""
    sets = ctypes.create_string_buffer(24)
    _call("capget", struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), sets)
    effective: int = struct.unpack("=6I", sets.raw)[0]
    return bool(effective >> capability & 1)


def seccomp(program: bytes) -> int:
    """Puts every later system call of this process under a filter of ``struct sock_filter``, for good.

    Returns a descriptor on which another process is told of the calls that the filter asks about.
    """
    code = ctypes.create_string_buffer(program, len(program))
    instructions = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    return _call("seccomp", _SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER, instructions)


# ------------------------------------------------------------------------------------------------ namespaces


def unshare(flags: int) -> None:
    """Leaves namespaces for new ones of its own (of processes: for its children)."""
    _call("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """Enters a namespace (of processes: for its children)."""
    _call("setns", fd, kind)


def set_hostname(name: bytes) -> None:
    """The name of the machine in this namespace."""
    _call("sethostname", name, len(name))


def make_mounts_private() -> None:
    """What this namespace mounts is seen nowhere else."""
    _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount_tmpfs(path: str, options: str) -> None:
    """An empty file system in memory."""
    _call("mount", b"tmpfs", path.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())


def bind(source: str, target: str) -> None:
    """Shows a file or folder, with what is mounted below it, in a second place."""
    _call("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def make_read_only(path: str) -> None:
    """Everything mounted at and below a path can no longer be written to."""
    attributes = struct.pack("=4Q", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    _call("mount_setattr", _AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, len(attributes))


def change_root(path: str) -> None:
    """Makes a mounted folder the root; the old root is gone from this namespace."""
    os.chdir(path)
    _call("pivot_root", b".", b".")  # the old root now lies on top of the new one
    _call("umount2", b".", _MNT_DETACH)
    os.chdir("/")


# -------------------------------------------------------------------------------------------------- Landlock

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many of the file system rights each version of Landlock's interface knows; from version 5 on, 16."""

_READ = _READ_FILE | _READ_DIR
_CHANGE = _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER
_OF_FILES = _READ_FILE | _WRITE_FILE | _TRUNCATE


def landlock_abi() -> int:
    """The version of Landlock's interface; OSError where the kernel has none."""
    return _call("landlock_create_ruleset", None, 0, 1)


def landlock_rules(read: Iterable[str], write: Iterable[str]) -> int:
    """A descriptor of rules: no files but those below these paths, and as much less as the kernel knows.

    From version 4 on no TCP either, and from version 6 on no signals to, and no abstract sockets of, processes that
    are not restricted with it.
    """
    abi = landlock_abi()
    known = (1 << _RIGHTS_BY_ABI.get(abi, 16)) - 1
    attributes = struct.pack("=3Q", known, 0b11, 0b11)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _call("landlock_create_ruleset", attributes, len(attributes), 0)
    for path, rights in [*((path, _READ) for path in read), *((path, _READ | _CHANGE) for path in write)]:
        _allow(ruleset, path, rights & known)
    return ruleset


def landlock(rules: int) -> None:
    """Puts this process under rules, for good."""
    _call("landlock_restrict_self", rules, 0)


def _allow(ruleset: int, path: str, rights: int) -> None:
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        allowed = rights if os.path.isdir(path) else rights & _OF_FILES
        _call("landlock_add_rule", ruleset, 1, struct.pack("=Qi", allowed, fd), 0)
    finally:
        os.close(fd)
