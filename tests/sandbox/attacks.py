"""What hostile programs try. Each is bounded, so that a hole in the jail harms no machine that runs the tests.

A program that gets what it should not calls ``escaped``. ``TARGET`` tells it what there is to reach: the process that
runs the tests, a secret in a file, sockets that listen.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

PRELUDE = """
import ctypes, errno, mmap, os, socket, struct, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def escaped(what):
    print("ESCAPED", what, flush=True)
def syscall(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def each(*actions):
    "Tries every one; the last refusal is not caught, so that it shows."
    last = None
    for action in actions:
        try:
            escaped(action())
        except (OSError, AttributeError) as error:
            last = error
    if last:
        raise last
"""


@dataclass(frozen=True)
class Attack:
    """A hostile program.

    Attributes:
        ends: what its status may be.
        denied: what the report must say was refused.
        seen: the tiers at which it must say so: in namespaces what is not there need not be refused.
        fault: the class of faults it belongs to.
    """

    fault: str
    source: str
    ends: tuple[str, ...] = ("exited",)
    denied: str | None = None
    seen: tuple[int, ...] = (2, 3)
    timeout_s: float = 20.0


X86 = platform.machine() == "x86_64"
NUMBERS = (
    {"clone": 56, "vfork": 58, "ptrace": 101, "process_vm_readv": 310, "keyctl": 250, "bpf": 321, "userfaultfd": 323}
    | {"mount": 165, "unshare": 272, "setns": 308, "chroot": 161, "pivot_root": 155, "perf_event_open": 298}
    | {"clock_settime": 227, "open_by_handle_at": 304, "memfd_create": 319, "shmget": 29, "sethostname": 170}
    if X86
    else {"clone": 220, "vfork": 0x7FFF, "ptrace": 117, "process_vm_readv": 270, "keyctl": 219, "bpf": 280}
    | {"userfaultfd": 282, "mount": 40, "unshare": 97, "setns": 268, "chroot": 51, "pivot_root": 41}
    | {"perf_event_open": 241, "clock_settime": 112, "open_by_handle_at": 265, "memfd_create": 279, "shmget": 194}
    | {"sethostname": 161}
)


def call(name: str, *arguments: object) -> str:
    return f"syscall({', '.join(map(str, (NUMBERS[name], *arguments)))})"


ATTACKS: dict[str, Attack] = {
    # ------------------------------------------------------------------------------------ F22: exhausting the machine
    "fork bomb": Attack("F22", """
for _ in range(300):
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
    escaped("fork")
""", denied="processes"),
    "fork by raw system calls": Attack("F22", f"""
each(lambda: {call("clone", 17, 0, 0, 0, 0)} == 0 and os._exit(0), lambda: {call("vfork")} == 0 and os._exit(0))
""", denied="processes"),
    "clone3": Attack("F22", """
each(lambda: syscall(435, struct.pack("=11Q", *([0] * 4), 17, *([0] * 6)), 88) == 0 and os._exit(0))
"""),
    "processes by subprocess and multiprocessing": Attack("F22", """
import multiprocessing
each(lambda: subprocess.run(["sleep", "2"]), lambda: os.posix_spawn("/bin/true", ["true"], {}),
     lambda: multiprocessing.get_context("fork").Process(target=time.sleep, args=(2,)).start())
""", denied="processes"),
    "memory bomb": Attack("F22", """
held = []
for _ in range(200):
    held.append(bytearray(10 << 20))
    if len(held) > 60:
        escaped(f"{len(held)} times 10 MB")
""", denied="memory"),
    "memory bomb by mmap": Attack("F22", """
held = []
for _ in range(20):
    held.append(mmap.mmap(-1, 100 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS))
    if len(held) > 6:
        escaped(f"{len(held)} times 100 MB")
"""),
    "memory bomb in memfd and shared segments": Attack("F22", f"""
each(lambda: os.memfd_create("x"), lambda: {call("shmget", 0, 1 << 20, 0o1600)})
""", denied="shared memory"),
    "one large file": Attack("F22", """
with open("large", "wb") as file:
    for count in range(300):
        file.write(bytes(1 << 20))
        file.flush()
        if count > 64:
            escaped(f"{count} MB")
""", ends=("exited", "killed"), denied="disk"),
    "many files": Attack("F22", """
for count in range(40):
    with open(f"{count}", "wb") as file:
        for _ in range(10):
            file.write(bytes(1 << 20))
    time.sleep(0.01)
escaped("400 MB")
""", ends=("exited", "killed"), denied="disk"),
    "many folders": Attack("F22", """
for count in range(3000):
    os.mkdir(f"{count}")
time.sleep(1)
escaped("3,000 folders")
""", ends=("exited", "killed"), denied="disk"),
    "folders in folders": Attack("F22", """
for _ in range(500):
    os.mkdir("d" * 200, 0o300)
    os.chdir("d" * 200)
    open("f", "w").close()
"""),
    "folders without rights": Attack("F22", """
os.mkdir("a"); os.mkdir("a/b"); open("a/b/c", "w").close(); os.symlink("/", "a/s")
for path in ("a/b", "a"):
    try:
        os.chmod(path, 0)
    except OSError:
        pass
os.mkdir("closed", 0)
"""),
    "descriptors": Attack("F22", """
held = [open("/dev/null") for _ in range(300)]
escaped(f"{len(held)} files")
""", denied="open files"),
    "spin": Attack("F22", "while True: pass", ends=("timed out",), timeout_s=0.3),
    "spin in C": Attack("F22", "x = 9 ** 9 ** 9", ends=("timed out",), timeout_s=0.3),
    "sleep, deaf to signals": Attack("F22", """
import signal
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        pass
while True:
    time.sleep(100)
""", ends=("timed out",), timeout_s=0.3),
    "stop oneself": Attack("F22", "import signal; os.kill(os.getpid(), signal.SIGSTOP); time.sleep(100)",
                           ends=("timed out",), timeout_s=0.3),
    "threads": Attack("F22", """
threading.stack_size(1 << 15)
stop = threading.Event()
count = 0
try:
    for count in range(2000):
        threading.Thread(target=stop.wait, daemon=True).start()
    escaped("2000 threads")
except RuntimeError:
    stop.set()
    raise
""", denied="threads", ends=("exited", "timed out")),
    "output": Attack("F22", "line = 'x' * 100_000\nfor _ in range(10_000): print(line)", ends=("too much output",)),
    "errors": Attack("F22", "for _ in range(10_000): sys.stderr.write('x' * 100_000)", ends=("too much output",)),
    # ------------------------------------------------------------------------------------------------ F23: secrets
    "read the machine's files": Attack("F23", """
each(lambda: open(TARGET["secret"]).read(), lambda: os.listdir("/tmp"), lambda: os.listdir("/root"),
     lambda: os.listdir("/home"), lambda: os.listdir(os.path.dirname(TARGET["secret"])),
     lambda: open("/etc/shadow").read(), lambda: open("/etc/passwd").read())
""", denied="files", seen=(2,)),
    "read through a path that climbs": Attack("F23", """
each(lambda: os.listdir(".."), lambda: open("../" * 20 + TARGET["secret"]).read())
""", denied="files", seen=(2,)),
    "read the environment": Attack("F23", """
if os.environ:
    escaped(dict(os.environ))
each(lambda: open("/proc/self/environ").read())
""", denied="files", seen=(2,)),
    "read other processes": Attack("F23", """
pid = TARGET["pid"]
each(lambda: open(f"/proc/{pid}/environ").read(), lambda: open(f"/proc/{pid}/cmdline").read(),
     lambda: os.listdir(f"/proc/{pid}/fd"), lambda: os.listdir("/proc"), lambda: open("/proc/self/maps").read())
""", denied="files", seen=(2,)),
    "read another program's folder": Attack("F23", """
each(lambda: os.listdir(TARGET["neighbour"]), lambda: open(TARGET["neighbour"] + "/main.py").read())
""", denied="files", seen=(2,)),
    "find what earlier programs left in memory": Attack("F23", """
import gc
def texts():
    for thing in gc.get_objects():
        for inner in gc.get_referents(thing):
            if isinstance(inner, (str, bytes, bytearray)):
                yield inner
needle = "".join(map(chr, TARGET["needle"]))
hits = [t for t in texts() if t is not needle and (needle if isinstance(t, str) else needle.encode()) in t]
if hits:
    escaped(hits[:1])
frame = sys._getframe().f_back
while frame:
    if needle in str(frame.f_locals) + str(frame.f_globals)[:100_000]:
        escaped(frame)
    frame = frame.f_back
"""),
    # ------------------------------------------------------------------------------------------------ F24: network
    "TCP": Attack("F24", "socket.create_connection(('127.0.0.1', TARGET['tcp']), 1).sendall(b'out')",
                  denied="network"),
    "TCP server": Attack("F24", "socket.create_server(('127.0.0.1', 0)); escaped('listens')", denied="network"),
    "UDP": Attack("F24", """
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", ("127.0.0.1", TARGET["udp"]))
""", denied="network"),
    "unix socket": Attack("F24", "socket.socket(socket.AF_UNIX).connect(TARGET['unix'])", denied="network"),
    "abstract socket": Attack("F24", "socket.socket(socket.AF_UNIX).connect(TARGET['abstract'])", denied="network"),
    "DNS": Attack("F24", "escaped(socket.getaddrinfo('example.com', 80))", denied="network"),
    "netlink, raw and packet sockets": Attack("F24", """
each(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
     lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
     lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
     lambda: socket.socket(38, 5), lambda: socket.socket(40, 1))
""", denied="network"),
    "io_uring": Attack("F24", """
parameters = ctypes.create_string_buffer(120)
each(lambda: syscall(425, 4, parameters), lambda: syscall(426, 0, 0, 0, 0, 0, 0))
""", denied="kernel"),
    "leave through a pair of sockets": Attack("F24", """
a, b = socket.socketpair()
address = struct.pack("=H108s", 1, TARGET["unix"].encode())
each(lambda: a.connect(TARGET["unix"]), lambda: a.sendto(b"out", TARGET["unix"]),
     lambda: a.sendmsg([b"out"], [], 0, TARGET["unix"]), lambda: a.bind("name"),
     lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
""", denied="network"),
    # ------------------------------------------------------------------------------------- F25: processes and kernel
    "ptrace": Attack("F25", f"""
each(lambda: {call("ptrace", 16, "TARGET['pid']", 0, 0)}, lambda: {call("ptrace", 0x4206, "TARGET['pid']", 0, 0)})
""", denied="other processes"),
    "memory of others": Attack("F25", f"""
here = ctypes.create_string_buffer(64)
vector = struct.pack("=QQ", ctypes.addressof(here), 64)
each(lambda: {call("process_vm_readv", "TARGET['pid']", "vector", 1, "vector", 1, 0)},
     lambda: open(f"/proc/{{TARGET['pid']}}/mem", "r+b"), lambda: open(f"/proc/{{os.getppid()}}/mem", "r+b"))
""", denied="other processes"),
    "signals": Attack("F25", """
others = (TARGET["pid"], os.getppid(), 1 if os.getpid() != 1 else 2, 0, -1)
each(*[lambda pid=pid: os.kill(pid, 0) or pid for pid in others],
     lambda: os.killpg(0, 0), lambda: os.pidfd_open(TARGET["pid"]))
""", denied="other processes"),
    "signals by way of a descriptor's owner": Attack("F25", """
import fcntl
r, w = os.pipe()
each(lambda: fcntl.fcntl(r, fcntl.F_SETOWN, TARGET["pid"]), lambda: fcntl.fcntl(r, 10, 9),
     lambda: fcntl.ioctl(r, 0x8901, struct.pack("i", TARGET["pid"])))
""", denied="other processes"),
    "limits and priorities of others": Attack("F25", """
import resource
pid = TARGET["pid"]
each(lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE), lambda: os.setpriority(os.PRIO_PROCESS, pid, 19),
     lambda: os.sched_setaffinity(pid, {0}))
""", denied="other processes"),
    "namespaces and mounts": Attack("F25", f"""
each(lambda: {call("unshare", 0x10000000)}, lambda: {call("setns", 0, 0)},
     lambda: {call("mount", "b'none'", "b'.'", "b'tmpfs'", 0, 0)}, lambda: os.chroot("."),
     lambda: {call("pivot_root", "b'.'", "b'.'")}, lambda: {call("sethostname", "b'x'", 1)})
""", denied="kernel"),
    "keyctl, bpf, userfaultfd, perf": Attack("F25", f"""
each(lambda: {call("keyctl", 0, -3, 1)}, lambda: {call("bpf", 0, "b' ' * 64", 64)}, lambda: {call("userfaultfd", 0)},
     lambda: {call("perf_event_open", "b' ' * 128", 0, -1, -1, 0)})
""", denied="kernel"),
    "become another": Attack("F25", """
each(lambda: os.setuid(0), lambda: os.setresuid(1, 1, 1), lambda: os.setgid(0), lambda: os.setgroups([0]))
if 0 in os.getresuid():
    escaped("root")
"""),
    "the clock": Attack("F25", "each(lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))", denied="kernel"),
    "loosen the limits": Attack("F25", """
import resource
each(*[lambda kind=kind: resource.setrlimit(kind, (-1, -1)) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)])
""", ends=("exited",)),
    "calls of other machines": Attack("F25", """
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b81400000053cd805bc3"))  # mov eax, 20 (getpid); push rbx; int 0x80; pop rbx; ret
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
escaped(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
""", ends=("killed",)),
    "calls with the bit of x32": Attack("F25", """
each(lambda: syscall(0x40000000 | 41, 2, 1, 0), lambda: syscall(0x40000000 | 59, 0, 0, 0))
"""),
    # ------------------------------------------------------------------------------------------- F26: from Python
    "through classes": Attack("F26", """
wrap = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"][0]
shell = wrap.__init__.__globals__["system"]
if shell("true") == 0:
    escaped("shell")
""", denied="processes"),
    "programs": Attack("F26", """
each(lambda: os.execv("/bin/true", ["true"]), lambda: os.execv(sys.executable, ["python"]),
     lambda: subprocess.check_output("true", shell=True))
""", denied="processes"),
    "descriptors of the parent": Attack("F26", """
for fd in range(3, 256):
    try:
        os.fstat(fd)
        escaped(fd)
    except OSError:
        pass
each(lambda: os.listdir("/proc/self/fd"), lambda: os.open("/proc/self/fd/3", 0), lambda: os.open("/dev/tty", 2))
"""),
    "write outside": Attack("F26", """
outside = os.path.dirname(TARGET["secret"])
places = (outside, "/tmp", "/dev/shm", "/var/tmp", "..", "/", "/run")
each(*[lambda d=d: open(f"{d}/left", "w").close() or d for d in places],
     lambda: open(TARGET["secret"], "a"), lambda: os.unlink(TARGET["secret"]),
     lambda: os.rename(TARGET["secret"], "here"), lambda: os.mkdir(f"{outside}/left"),
     lambda: os.truncate(TARGET["secret"], 0), lambda: os.rename("main.py", f"{outside}/left"))
"""),
    "links": Attack("F26", """
os.symlink(TARGET["secret"], "soft")
os.symlink(os.path.dirname(TARGET["secret"]), "folder")
each(lambda: open("soft").read(), lambda: open("soft", "a"), lambda: os.listdir("folder"),
     lambda: os.link(TARGET["secret"], "hard"), lambda: os.link(os.__file__, "library"))
"""),
    "swap a link while it is followed": Attack("F26", """
open("plain", "w").close()
until = time.monotonic() + 0.4
def swap():
    while time.monotonic() < until:
        for target in ("plain", TARGET["secret"]):
            os.symlink(target, "new")
            os.rename("new", "door")
thread = threading.Thread(target=swap)
thread.start()
while time.monotonic() < until:
    try:
        with open("door") as file:
            text = file.read()
        if text:
            escaped(text)
    except OSError:
        pass
thread.join()
"""),
    "attributes of others' files": Attack("F26", """
each(*[lambda p=p: os.chmod(p, 0o777) for p in (TARGET["secret"], os.__file__, "main.py")],
     lambda: os.utime(TARGET["secret"]), lambda: os.chown(TARGET["secret"], 1, 1),
     lambda: os.setxattr(TARGET["secret"], "user.a", b"b"), lambda: os.fchmod(os.open(os.__file__, 0), 0o777),
     lambda: os.utime(os.open(os.__file__, 0)))
""", denied="file attributes"),
    "the standard library": Attack("F26", """
each(lambda: open(os.__file__, "a"), lambda: os.open(os.__file__, os.O_RDONLY | os.O_TRUNC),
     lambda: os.open(os.__file__, 3 | os.O_TRUNC), lambda: os.unlink(os.__file__),
     lambda: open(os.path.join(os.path.dirname(os.__file__), "left.py"), "w"))
if os.path.getsize(os.__file__) < 1000:
    escaped("truncated")
"""),
    "files by handle, devices": Attack("F26", f"""
each(lambda: {call("open_by_handle_at", -100, "b' ' * 136", 0)}, lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)),
     lambda: os.mkfifo("fifo"), lambda: open("/dev/mem", "rb"), lambda: open("/dev/vda", "rb"))
"""),
}  # fmt: skip

if not X86:
    del ATTACKS["calls of other machines"], ATTACKS["calls with the bit of x32"]
