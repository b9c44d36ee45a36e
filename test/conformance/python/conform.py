"""What the conformance programs in Python share: the judge's files and the numbers of the verbs, which the Go package
conform describes."""
import os
import struct
import sys
import threading
import time

PARTITIONS = 3
REPLICAS = int(os.environ.get("REPLICAS", 1))
MAX_BYTES = 1048588
SEEK_TO, PAUSED_AT, READ_OTHERS = 100, 150, 100
OLD_RECORDS, NEW_RECORDS = 300, 30
PATIENCE = 120  # seconds


def committed_in(partition):
    return 50 * (partition + 1)


def text(prefix, n):
    """Partition and value of records "old-0" and so on."""
    return [(i % PARTITIONS, f"{prefix}-{i}".encode()) for i in range(n)]


def read_records(name):
    with open(name, "rb") as f:
        data = f.read()
    at = 0

    def take(n):
        nonlocal at
        at += n
        return data[at - n : at]

    def blob():
        (n,) = struct.unpack(">i", take(4))
        return None if n < 0 else take(n)

    while at < len(data):
        partition, timestamp = struct.unpack(">iq", take(12))
        key, value = blob(), blob()
        (n,) = struct.unpack(">i", take(4))
        headers = [(blob().decode(), blob()) for _ in range(n)]
        yield partition, timestamp, key, value, headers


class Got:
    """The file of what was read; it finds gaps in the offsets of a partition."""

    def __init__(self, name):
        self.out = open(name, "wb", buffering=1 << 20)
        self.following = [0] * PARTITIONS
        self.count = 0

    def put(self, partition, offset, timestamp, key, value, headers):
        if offset != self.following[partition]:
            sys.exit(f"partition {partition}: offset {offset} instead of {self.following[partition]}")
        self.following[partition] += 1
        self.count += 1
        self.out.write(struct.pack(">iq", partition, timestamp))
        self.blob(key)
        self.blob(value)
        self.out.write(struct.pack(">i", len(headers)))
        for name, value in headers:
            self.blob(name.encode())
            self.blob(value)

    def blob(self, b):
        self.out.write(struct.pack(">i", -1 if b is None else len(b)))
        if b is not None:
            self.out.write(b)

    def close(self):
        self.out.close()


class FirstSeen:
    """Prints where each partition began to be read."""

    def __init__(self):
        self.seen = set()

    def done(self, partition, offset):
        if partition not in self.seen:
            print("seek", partition, offset)
        self.seen.add(partition)
        return len(self.seen) == PARTITIONS


class Paused:
    """Counts what comes while partition 0 is paused."""

    def __init__(self):
        self.paused = self.others = 0

    def done(self, partition, _):
        if partition == 0:
            self.paused += 1
        else:
            self.others += 1
        if self.others < READ_OTHERS:
            return False
        print("paused 0", self.paused)
        return True


def resumed(partition, offset):
    if partition == 0:
        print("resumed 0", offset)
    return partition == 0


class Printed:
    """Prints records until there were n whose value begins with prefix."""

    def __init__(self, prefix, n):
        self.prefix, self.left = prefix.encode(), n

    def done(self, partition, offset, value):
        print("record", partition, offset, value.decode())
        self.left -= value.startswith(self.prefix)
        return self.left == 0


class Deadline:
    def __init__(self):
        self.end = time.monotonic() + PATIENCE

    def check(self, what):
        if time.monotonic() > self.end:
            sys.exit(f"{what}: not within {PATIENCE} s")


def stdin_ends():
    """An event that is set when the standard input ends."""
    ended = threading.Event()

    def wait():
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended
