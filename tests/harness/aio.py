"""Asynchronous writes as databases do them: Linux AIO and io_uring, by their system calls."""

import ctypes
import mmap
import os

from harness.posix import LIBC, check

IO_SETUP, IO_DESTROY, IO_GETEVENTS, IO_SUBMIT = 206, 207, 208, 209
URING_SETUP, URING_ENTER = 425, 426
AIO_PWRITE, URING_WRITE = 1, 23
GETEVENTS = 1
SQ_OFFSET, SQE_OFFSET = 0, 0x10000000


class Iocb(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("rw", ctypes.c_int32), ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32), ("buffer", ctypes.c_uint64), ("length", ctypes.c_uint64), ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("eventfd", ctypes.c_uint32),
    ]  # fmt: skip


class Event(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64), ("object", ctypes.c_uint64), ("result", ctypes.c_int64), ("result2", ctypes.c_int64)]


class Sqe(ctypes.Structure):
    _fields_ = [
        ("opcode", ctypes.c_uint8), ("flags", ctypes.c_uint8), ("priority", ctypes.c_uint16), ("fd", ctypes.c_int32), ("offset", ctypes.c_uint64),
        ("buffer", ctypes.c_uint64), ("length", ctypes.c_uint32), ("rest", ctypes.c_uint8 * 28),
    ]  # fmt: skip


class Params(ctypes.Structure):
    _fields_ = [("entries", ctypes.c_uint32 * 10), ("sq", ctypes.c_uint32 * 10), ("cq", ctypes.c_uint32 * 10)]


def memory(size):
    """A buffer that is aligned for direct writes."""
    return mmap.mmap(-1, size)


def address(buffer):
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


class Aio:
    """Linux AIO; one write at a time."""

    def __init__(self):
        self.context = ctypes.c_ulong(0)
        check(LIBC.syscall(IO_SETUP, 8, ctypes.byref(self.context)))

    def write(self, fd, buffer, offset):
        block = Iocb(opcode=AIO_PWRITE, fd=fd, buffer=address(buffer), length=len(buffer), offset=offset)
        event = Event()
        check(LIBC.syscall(IO_SUBMIT, self.context, 1, (ctypes.c_void_p * 1)(ctypes.addressof(block))))
        check(LIBC.syscall(IO_GETEVENTS, self.context, 1, 1, ctypes.byref(event), None))
        return event.result

    def close(self):
        LIBC.syscall(IO_DESTROY, self.context)


class Uring:
    """io_uring; one write at a time. OSError where the kernel offers none."""

    def __init__(self):
        params = Params()
        self.fd = check(LIBC.syscall(URING_SETUP, 8, ctypes.byref(params)))
        entries, cq_entries = params.entries[0], params.entries[1]
        (self.head, self.tail, self.mask, _, _, _, self.array), self.cq = params.sq[:7], params.cq
        size = max(self.array + 4 * entries, self.cq[5] + 16 * cq_entries)
        self.ring = mmap.mmap(self.fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=SQ_OFFSET)
        self.entries = mmap.mmap(self.fd, entries * 64, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=SQE_OFFSET)

    def word(self, at, kind=ctypes.c_uint32):
        return kind.from_buffer(self.ring, at)

    def write(self, fd, buffer, offset):
        tail, seen = self.word(self.tail), self.word(self.cq[0])
        index = tail.value & self.word(self.mask).value
        Sqe.from_buffer(self.entries, 64 * index).__init__(opcode=URING_WRITE, fd=fd, offset=offset, buffer=address(buffer), length=len(buffer))
        self.word(self.array + 4 * index).value = index
        tail.value += 1
        check(LIBC.syscall(URING_ENTER, self.fd, 1, 1, GETEVENTS, None, 0))
        assert self.word(self.cq[1]).value == seen.value + 1
        place = self.cq[5] + 16 * (seen.value & self.word(self.cq[2]).value)
        result = self.word(place + 8, ctypes.c_int32).value
        seen.value += 1
        return result

    def close(self):
        os.close(self.fd)
