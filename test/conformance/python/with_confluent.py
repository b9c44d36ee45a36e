"""The conformance program of confluent-kafka; the Go package conform says what its verbs do."""
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import conform
from conform import PARTITIONS


def create(admin, topic):
    admin.create_topics([NewTopic(topic, PARTITIONS, conform.REPLICAS, config={"retention.ms": "-1"})])[topic].result(30)


def new_producer(bootstrap, codec="none", idempotent=True):
    return Producer({
        "bootstrap.servers": bootstrap, "compression.type": codec, "acks": "all", "enable.idempotence": idempotent,
        "message.max.bytes": conform.MAX_BYTES, "linger.ms": 5, "queue.buffering.max.messages": 200000,
    })


def new_consumer(bootstrap, group="unused", protocol="classic"):
    timeouts = {"session.timeout.ms": 30000, "heartbeat.interval.ms": 500} if protocol == "classic" else {}
    return Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "check.crcs": True, "group.protocol": protocol,
    } | timeouts)


def every_partition(topic, at):
    return [TopicPartition(topic, p, at(p)) for p in range(PARTITIONS)]


def produce(bootstrap, topic, codec, idempotent, want):
    create(AdminClient({"bootstrap.servers": bootstrap}), topic)
    producer, failed = new_producer(bootstrap, codec, idempotent == "true"), []

    def done(err, _):
        if err is not None:
            failed.append(err)

    for partition, timestamp, key, value, headers in conform.read_records(want):
        while True:
            try:
                producer.produce(topic, partition=partition, timestamp=timestamp, key=key, value=value, headers=headers or None, on_delivery=done)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120) or failed:
        sys.exit(f"not delivered: {failed[:3]}")


def consume(bootstrap, topic, count, got):
    consumer, out, deadline = new_consumer(bootstrap), conform.Got(got), conform.Deadline()
    consumer.assign(every_partition(topic, lambda p: OFFSET_BEGINNING))
    while out.count < int(count):
        deadline.check(f"{out.count} of {count} records read")
        for m in consumer.consume(5000, 0.2):
            if m.error():
                sys.exit(f"consume: {m.error()}")
            out.put(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or [])
    out.close()
    for p in range(PARTITIONS):
        if consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20) != (0, out.following[p]):
            sys.exit(f"bounds of partition {p}")
    consumer.close()


def member(bootstrap, topic, group, protocol):
    consumer, leave, following = new_consumer(bootstrap, group, protocol), conform.stdin_ends(), {}

    def commit(*_):
        if following:
            consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in following.items()], asynchronous=False)
            following.clear()

    consumer.subscribe([topic], on_revoke=commit)
    while not leave.is_set():
        for m in consumer.consume(1000, 0.1):
            if m.error():
                print("member:", m.error(), file=sys.stderr)
                continue
            print(m.partition(), m.offset())
            following[m.partition()] = m.offset() + 1
        sys.stdout.flush()
        commit()
    consumer.close()


def each(consumer, done):
    deadline = conform.Deadline()
    while True:
        deadline.check("reading")
        for m in consumer.consume(1, 0.1):
            if m.error():
                print("consumer:", m.error(), file=sys.stderr)
            elif done(m):
                return


def positions(bootstrap, topic, group, *times):
    consumer = new_consumer(bootstrap, group)

    def seek(offset):
        for tp in every_partition(topic, lambda p: offset):
            consumer.seek(tp)

    consumer.assign(every_partition(topic, lambda p: OFFSET_BEGINNING))
    started = set()  # the client seeks only what it reads already
    each(consumer, lambda m: started.add(m.partition()) or len(started) == PARTITIONS)
    seek(conform.SEEK_TO)
    first, others = conform.FirstSeen(), conform.Paused()
    each(consumer, lambda m: first.done(m.partition(), m.offset()))
    consumer.pause([TopicPartition(topic, 0)])
    seek(conform.PAUSED_AT)
    each(consumer, lambda m: others.done(m.partition(), m.offset()))
    consumer.resume([TopicPartition(topic, 0)])
    each(consumer, lambda m: conform.resumed(m.partition(), m.offset()))
    for at in times:
        for tp in consumer.offsets_for_times(every_partition(topic, lambda p: int(at)), timeout=20):
            print("time", at, tp.partition, tp.offset)
    consumer.commit(offsets=every_partition(topic, conform.committed_in), asynchronous=False)
    for tp in consumer.committed(every_partition(topic, lambda p: OFFSET_BEGINNING), timeout=20):
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, tp.partition), timeout=20)
        print("lag", tp.partition, tp.offset, end, end - tp.offset)
    consumer.close()


def write_text(producer, topic, records):
    """Writes what is refused for want of the topic again: the client remembers for a while that it was gone."""
    gone = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
    while records:
        again = []

        def done(err, m):
            if err is None:
                return
            if err.code() not in gone:
                sys.exit(f"not delivered: {err}")
            again.append((m.partition(), m.value()))

        for partition, value in records:
            producer.produce(topic, partition=partition, value=value, on_delivery=done)
        producer.flush(60)
        records = again


def recreate(bootstrap, topic):
    """One producer writes and one consumer reads all the while, by assignment."""
    admin, producer, consumer = AdminClient({"bootstrap.servers": bootstrap}), new_producer(bootstrap), new_consumer(bootstrap)
    create(admin, topic)
    write_text(producer, topic, conform.text("old", conform.OLD_RECORDS))
    consumer.assign(every_partition(topic, lambda p: OFFSET_BEGINNING))
    old, new = conform.Printed("old", conform.OLD_RECORDS), conform.Printed("new", conform.NEW_RECORDS)
    each(consumer, lambda m: old.done(m.partition(), m.offset(), m.value()))
    admin.delete_topics([topic])[topic].result(30)
    while True:
        try:
            create(admin, topic)
            break
        except KafkaException as e:
            if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    print("recreated")
    write_text(producer, topic, conform.text("new", conform.NEW_RECORDS))
    each(consumer, lambda m: new.done(m.partition(), m.offset(), m.value()))
    consumer.close()


{"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate}[sys.argv[1]](*sys.argv[2:])
