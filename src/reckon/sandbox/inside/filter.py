"""Which system calls an untrusted program may make, as a seccomp filter; and who it asks about the rest.

Three lists. What an interpreter needs to compute, to use its own folder and to run threads is allowed, some of it only
with certain arguments. What programs try that they should not is put to the supervisor, which answers "not permitted"
and so knows of the attempt. Everything else, calls of the future among it, does not exist (ENOSYS).

A program is one process, always: threads yes, children no. So nothing of it can outlive it, memory limits hold for
all of it, and a fork bomb is one refused call. Landlock says nothing of modes, owners, times and attributes of
files; those calls are refused here. So are signals, limits and priorities of other processes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from reckon.sandbox.inside.kernel import MACHINE

_COLUMN = 1 if MACHINE == "aarch64" else 0


def _table(text: str) -> dict[str, int]:
    """Calls of this machine by name. Each line: name, number on x86_64, number on aarch64 ("-" where it has none)."""
    rows = [entry.split() for entry in text.replace("\n", ",").split(",") if entry.strip()]
    return {name: int(numbers[_COLUMN]) for name, *numbers in rows if numbers[_COLUMN] != "-"}


ALLOWED = _table(
    """
    read 0 63, write 1 64, close 3 57, stat 4 -, fstat 5 80, lstat 6 -, poll 7 -, lseek 8 62, mmap 9 222
    mprotect 10 226, munmap 11 215, brk 12 214, rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139
    pread64 17 67, pwrite64 18 68, readv 19 65, writev 20 66, access 21 -, pipe 22 -, select 23 -, sched_yield 24 124
    mremap 25 216, msync 26 227, madvise 28 233, dup 32 23, dup2 33 -, pause 34 -, nanosleep 35 101, getitimer 36 102
    alarm 37 -, setitimer 38 103, getpid 39 172, sendfile 40 71, recvfrom 45 207, sendmsg 46 211, shutdown 48 210
    getsockname 51 204, getpeername 52 205, getsockopt 55 209, exit 60 93, wait4 61 260, uname 63 160, flock 73 32
    fsync 74 82, fdatasync 75 83, ftruncate 77 46, getdents 78 -, getcwd 79 17, chdir 80 49, fchdir 81 50, rename 82 -
    mkdir 83 -, rmdir 84 -, creat 85 -, link 86 -, unlink 87 -, symlink 88 -, readlink 89 -, umask 95 166
    gettimeofday 96 169, getrlimit 97 163, getrusage 98 165, sysinfo 99 179, times 100 153, getuid 102 174
    getgid 104 176, geteuid 107 175, getegid 108 177, getppid 110 173, getpgrp 111 -, getgroups 115 158
    getresuid 118 148, getresgid 120 150, getpgid 121 155, getsid 124 156, rt_sigpending 127 136
    rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132, statfs 137 43, fstatfs 138 44, gettid 186 178
    futex 202 98, sched_getaffinity 204 123, sched_getparam 143 121, sched_getscheduler 145 120
    sched_get_priority_max 146 125, sched_get_priority_min 147 126, set_tid_address 218 96, restart_syscall 219 128
    timer_create 222 107, timer_settime 223 110, timer_gettime 224 108, timer_getoverrun 225 109, timer_delete 226 111
    clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, exit_group 231 94, epoll_wait 232 -
    epoll_ctl 233 21, waitid 247 95, mkdirat 258 34, newfstatat 262 79, unlinkat 263 35, renameat 264 38
    linkat 265 37, symlinkat 266 36, readlinkat 267 78, faccessat 269 48, pselect6 270 72, ppoll 271 73
    set_robust_list 273 99, epoll_pwait 281 22, timerfd_create 283 85, timerfd_settime 286 86, timerfd_gettime 287 87
    eventfd2 290 19, epoll_create1 291 20, dup3 292 24, pipe2 293 59, preadv 295 69, pwritev 296 70
    renameat2 316 276, getrandom 318 278, membarrier 324 283, copy_file_range 326 285, preadv2 327 286
    pwritev2 328 287, statx 332 291, rseq 334 293, close_range 436 436, faccessat2 439 439, epoll_pwait2 441 441
    fadvise64 221 223, getdents64 217 61, getcpu 309 168, fallocate 285 47
    """
)

CONDITIONAL = _table(
    "open 2 -, openat 257 56, ioctl 16 29, fcntl 72 25, sendto 44 206, socketpair 53 199, clone 56 220, kill 62 129"
    ", tgkill 234 131, prlimit64 302 261, prctl 157 167"
)

REFUSED = {
    "network": _table(
        "socket 41 198, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288 242, sendmmsg 307 269"
        ", recvmsg 47 212, recvmmsg 299 243, setsockopt 54 208"
    ),
    "processes": _table("fork 57 -, vfork 58 -, execve 59 221, execveat 322 281, setsid 112 157, setpgid 109 154"),
    "other processes": _table(
        "ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, process_madvise 440 440"
        ", pidfd_open 434 434, pidfd_getfd 438 438, kcmp 312 272, pidfd_send_signal 424 424, rt_sigqueueinfo 129 138"
        ", rt_tgsigqueueinfo 297 240, tkill 200 130, setpriority 141 140, sched_setaffinity 203 122"
        ", sched_setscheduler 144 119, sched_setparam 142 118"
    ),
    "kernel": _table(
        "unshare 272 97, setns 308 268, mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, keyctl 250 219"
        ", add_key 248 217, request_key 249 218, bpf 321 280, userfaultfd 323 282, io_uring_setup 425 425"
        ", io_uring_enter 426 426, io_uring_register 427 427, perf_event_open 298 241, setuid 105 146, setgid 106 144"
        ", setresuid 117 147, setresgid 119 149, capset 126 91, clock_settime 227 112, settimeofday 164 170"
        ", seccomp 317 277, landlock_restrict_self 446 446, mount_setattr 442 442"
    ),
    "file attributes": _table(
        "chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -, fchown 93 55, lchown 94 -"
        ", fchownat 260 54, utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5"
        ", lsetxattr 189 6, fsetxattr 190 7, truncate 76 45, mknod 133 -, mknodat 259 33"
    ),
    "shared memory": _table("memfd_create 319 279, shmget 29 194, msgget 68 186, semget 64 190, mq_open 240 180"),
}
"""Calls put to the supervisor, by what a program wants with them."""

_WANTS = {number: want for want, calls in REFUSED.items() for number in calls.values()} | {
    CONDITIONAL[name]: want
    for want, names in {
        "network": ("sendto", "socketpair"),
        "processes": ("clone",),
        "other processes": ("fcntl", "kill", "tgkill", "prlimit64"),
        "kernel": ("ioctl", "prctl"),
        "file attributes": ("open", "openat"),
    }.items()
    for name in names
    if name in CONDITIONAL
}

# ------------------------------------------------------------------------------------------------ the filter

_LOAD, _EQUAL, _AT_LEAST, _JUMP, _AND, _RETURN = 0x20, 0x15, 0x35, 0x05, 0x54, 0x06  # of classic BPF, on words
_KILL, _ERRNO, _NOTIFY, _ALLOW = 0x8000_0000, 0x0005_0000, 0x7FC0_0000, 0x7FFF_0000
_ARCHITECTURE = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}

_THREAD = 0x003D_0F00
"""The flags with which the C library starts a thread. (musl adds an old one that means nothing.)"""
_MEANINGLESS = 0x0040_0000

_SAFE_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1031, 1032)  # duplicate, flags, locks, the size of a pipe
_SAFE_IOCTL = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # a terminal? its size; flags
_SAFE_PRCTL = (15, 16, 0x5356_4D41)  # names of threads and of memory


def _instruction(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)


def _argument(index: int, high: bool = False) -> bytes:
    """Loads the low (or high) half of an argument; both machines are little-endian."""
    return _instruction(_LOAD, 16 + 8 * index + 4 * high)


def _is(value: int) -> bytes:
    """Goes on if the accumulator is this, else skips the next instruction."""
    return _instruction(_EQUAL, value, 0, 1)


_yes, _ask = _instruction(_RETURN, _ALLOW), _instruction(_RETURN, _NOTIFY)


def _one_of(index: int, values: tuple[int, ...]) -> bytes:
    """An argument must be one of these."""
    return _argument(index) + b"".join(_is(value) + _yes for value in values) + _ask


def _truncates_to_write(index: int) -> bytes:
    """O_TRUNC must come with O_WRONLY or O_RDWR, which Landlock checks; its first two versions overlook it else."""
    neither = b"".join(_is(os.O_TRUNC | mode) + _ask for mode in (0, 3))
    return _argument(index) + _instruction(_AND, os.O_TRUNC | 3) + neither + _yes


def _rules(pid: int) -> dict[str, bytes]:
    """What follows when a conditional call has been recognised."""
    no_address = _argument(4) + _is(0) + _argument(4, high=True)
    return {
        "open": _truncates_to_write(1),
        "openat": _truncates_to_write(2),
        "ioctl": _one_of(1, _SAFE_IOCTL),
        "fcntl": _one_of(1, _SAFE_FCNTL),  # not F_SETOWN, which sends signals to others
        # A half address in the accumulator fails the second comparison as well, for neither half may be set.
        "sendto": no_address + _is(0) + _yes + _ask,
        # A connected pair of streams, which asyncio wakes itself with, leads nowhere else.
        "socketpair": _argument(0) + _instruction(_EQUAL, 1, 0, 4) + _argument(1) + _instruction(_AND, 0xF)
        + _is(1) + _yes + _ask,
        "clone": _ask,  # threads too, which are counted
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        "prlimit64": _one_of(0, (0, pid)),
        "prctl": _one_of(0, _SAFE_PRCTL),
    }  # fmt: skip


def _tree(starts: list[tuple[int, bytes]]) -> bytes:
    """Finds the range the accumulator is in by bisection, and does what follows. Ranges: first number, what follows.

    The kernel tries a new filter on every number there is, so that a list would be slow to put on.
    """
    if len(starts) == 1:
        return starts[0][1]
    middle = len(starts) // 2
    below, above = _tree(starts[:middle]), _tree(starts[middle:])
    split = _instruction(_AT_LEAST, starts[middle][0], 0, 1) + _instruction(_JUMP, len(below) // 8)
    return split + below + above


def _build() -> bytes:
    """The filter, with a mark where the number of the process goes."""
    rules = _rules(_MARK)
    follows = dict.fromkeys(ALLOWED.values(), _yes) | {CONDITIONAL[name]: rules[name] for name in CONDITIONAL}
    follows |= dict.fromkeys((number for calls in REFUSED.values() for number in calls.values()), _ask)
    unknown = _instruction(_RETURN, _ERRNO | errno.ENOSYS)
    starts = [(0, follows.get(0, unknown))]
    for number in range(1, max(follows) + 2):
        if (then := follows.get(number, unknown)) != starts[-1][1]:
            starts.append((number, then))
    return (
        _instruction(_LOAD, 4)
        + _instruction(_EQUAL, _ARCHITECTURE.get(MACHINE, 0), 1, 0)
        + _instruction(_RETURN, _KILL)  # the 32-bit calls of this machine have other numbers
        + _instruction(_LOAD, 0)
        + _tree(starts)
    )


_MARK = 0x7EC4_0A11
_TEMPLATE = _build()


def program(pid: int) -> bytes:
    """The filter for a process with this number, as the kernel wants it."""
    return _TEMPLATE.replace(struct.pack("=I", _MARK), struct.pack("=I", pid))


# ------------------------------------------------------------------------------------------- the supervisor

_RECEIVE, _SEND = 0xC050_2100, 0xC018_2101  # ioctl of struct seccomp_notif and seccomp_notif_resp
_CONTINUE = 1
_NAME_SERVICE = (REFUSED["network"]["socket"], 1, 0x8_0801)
"""The socket with which the C library looks for a daemon when it is asked for the user's name. Nobody's attempt."""


class Questions:
    """The calls a filter asks about, and the answers: threads up to a number, and else no.

    Attributes:
        fd: readable when a question waits.
        refused: what was refused so far, in words.
    """

    def __init__(self, fd: int, threads: int) -> None:
        self.fd, self.refused = fd, dict[str, None]()
        self._threads = threads

    def answer(self) -> None:
        """Answers the question that waits; nothing if who asked has ended meanwhile."""
        question = bytearray(80)
        try:
            fcntl.ioctl(self.fd, _RECEIVE, question)
            (asked,) = struct.unpack_from("=Q", question)
            number, _, _, *arguments = struct.unpack_from("=iIQQQ", question, 16)
            fcntl.ioctl(self.fd, _SEND, struct.pack("=QqiI", asked, 0, *self._verdict(number, *arguments)))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise

    def _verdict(self, number: int, first: int, second: int) -> tuple[int, int]:
        """Error and flags of the answer, by the call's number and its first arguments."""
        if number == CONDITIONAL["clone"] and first & 0xFFFF_FFFF & ~_MEANINGLESS == _THREAD:
            if self._threads > 0:
                self._threads -= 1
                return 0, _CONTINUE
            self.refused["threads"] = None
            return -errno.EAGAIN, 0
        if (number, first, second) != _NAME_SERVICE:
            self.refused[_WANTS.get(number, "kernel")] = None
        return -errno.EPERM, 0

    def close(self) -> None:
        """A filter nobody answers refuses what it would have asked about."""
        os.close(self.fd)
