"""Creates a topic, writes the records of a file to it with confluent-kafka, reads them back into another file and looks
offsets up by time. conform.py BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT GOT; the files are the judge's."""
import struct
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PARTITIONS = 3


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


def put(out, b):
    out.write(struct.pack(">i", -1 if b is None else len(b)))
    if b is not None:
        out.write(b)


def write(bootstrap, topic, codec, idempotent, want):
    producer = Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "acks": "all", "enable.idempotence": idempotent,
        "message.max.bytes": 1048588, "linger.ms": 5, "queue.buffering.max.messages": 200000,
    })
    failed, counts = [], [0] * PARTITIONS

    def done(err, _):
        if err is not None:
            failed.append(err)

    for partition, timestamp, key, value, headers in read_records(want):
        while True:
            try:
                producer.produce(topic, partition=partition, timestamp=timestamp, key=key, value=value, headers=headers or None, on_delivery=done)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        counts[partition] += 1
    if producer.flush(120) or failed:
        sys.exit(f"not delivered: {failed[:3]}")
    return counts


def read(bootstrap, topic, got, counts):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    left, following, deadline = sum(counts), [0] * PARTITIONS, time.time() + 120
    with open(got, "wb", buffering=1 << 20) as out:
        while left:
            if time.time() > deadline:
                sys.exit(f"{left} records are missing")
            for m in consumer.consume(5000, 0.2):
                if m.error():
                    sys.exit(f"consume: {m.error()}")
                if m.offset() != following[m.partition()]:
                    sys.exit(f"offset {m.offset()} of partition {m.partition()}")
                following[m.partition()] += 1
                left -= 1
                # The client gives b"" for neither null nor absent: null is None.
                out.write(struct.pack(">iq", m.partition(), m.timestamp()[1]))
                put(out, m.key())
                put(out, m.value())
                headers = m.headers() or []
                out.write(struct.pack(">i", len(headers)))
                for name, value in headers:
                    put(out, name.encode())
                    put(out, value)
    for p in range(PARTITIONS):
        if consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20) != (0, counts[p]):
            sys.exit(f"bounds of partition {p}")
    return consumer


def look_up(consumer, topic, want):
    times = [(p, t) for p, t, *_ in read_records(want)]
    for at in (0, 1, len(times) // 3, len(times) // 2, len(times) - PARTITIONS):
        target = times[at][1]
        for tp in consumer.offsets_for_times([TopicPartition(topic, p, target) for p in range(PARTITIONS)], timeout=20):
            expected = sum(1 for p, t in times if p == tp.partition and t < target)
            if tp.error or tp.offset != expected:
                sys.exit(f"partition {tp.partition} at {target}: {tp.offset} instead of {expected}")


def in_a_group(bootstrap, topic, total, protocol):
    """Two members share the topic; one leaves in the midst of it, and nothing is read twice or never."""
    group, seen = f"{topic}-{protocol}", set()
    settings = {"group.protocol": protocol}
    if protocol == "classic":
        settings["session.timeout.ms"] = 6000

    def member():
        c = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                      "enable.auto.commit": False} | settings)
        c.subscribe([topic], on_revoke=lambda c, _: commit(c))
        return c

    def commit(c):
        positions = [p for p in c.position(c.assignment()) if p.offset >= 0]
        if positions:
            c.commit(offsets=positions, asynchronous=False)

    def take(c, n, wait):
        for m in c.consume(n, wait):
            if m.error():
                sys.exit(f"consume in a group: {m.error()}")
            at = (m.partition(), m.offset())
            if at in seen:
                sys.exit(f"{at} was read twice")
            seen.add(at)
        if c.assignment():
            commit(c)

    first, second = member(), member()
    deadline = time.time() + 120
    while not (first.assignment() and second.assignment()):
        if time.time() > deadline:
            sys.exit("the group does not settle")
        take(first, 1, 0.05)
        take(second, 1, 0.05)
    if len(first.assignment()) + len(second.assignment()) != PARTITIONS:
        sys.exit(f"{first.assignment()} and {second.assignment()}")
    while len(seen) < total // 2:
        if time.time() > deadline:
            sys.exit(f"{len(seen)} of {total} records read by two members")
        take(first, 1000, 0.1)
        take(second, 1000, 0.1)
    second.close()
    while len(seen) < total:
        if time.time() > deadline:
            sys.exit(f"{len(seen)} of {total} records read after one member left")
        take(first, 1000, 0.1)
    for tp in first.committed([TopicPartition(topic, p) for p in range(PARTITIONS)], timeout=20):
        if tp.offset != sum(1 for p, _ in seen if p == tp.partition):
            sys.exit(f"committed {tp.offset} in partition {tp.partition}")
    first.close()


def main():
    bootstrap, topic, codec, idempotent, want, got = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])[topic].result(30)
    counts = write(bootstrap, topic, codec, idempotent == "true", want)
    consumer = read(bootstrap, topic, got, counts)
    look_up(consumer, topic, want)
    consumer.close()
    for protocol in ("classic", "consumer"):
        in_a_group(bootstrap, topic, sum(counts), protocol)
    admin.delete_topics([topic])[topic].result(30)


main()
