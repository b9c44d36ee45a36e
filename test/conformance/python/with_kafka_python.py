"""The conformance program of kafka-python; the Go package conform says what its verbs do."""
import sys

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

import conform
from conform import PARTITIONS


def create(admin, topic):
    admin.create_topics([NewTopic(topic, PARTITIONS, conform.REPLICAS, topic_configs={"retention.ms": "-1"})])


def new_producer(bootstrap, codec="none", idempotent=True):
    return KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, acks="all", enable_idempotence=idempotent,
        max_request_size=conform.MAX_BYTES, linger_ms=5,
    )


def new_consumer(bootstrap, **options):
    return KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, check_crcs=True, **options)


def all_of(topic):
    return [TopicPartition(topic, p) for p in range(PARTITIONS)]


def produce(bootstrap, topic, codec, idempotent, want):
    create(KafkaAdminClient(bootstrap_servers=bootstrap), topic)
    producer, sent = new_producer(bootstrap, codec, idempotent == "true"), []
    for partition, timestamp, key, value, headers in conform.read_records(want):
        sent.append(producer.send(topic, partition=partition, timestamp_ms=timestamp, key=key, value=value, headers=headers))
    producer.flush()
    for future in sent:
        future.get(0)
    producer.close()


def consume(bootstrap, topic, count, got):
    consumer, out, deadline = new_consumer(bootstrap), conform.Got(got), conform.Deadline()
    consumer.assign(all_of(topic))
    consumer.seek_to_beginning()
    while out.count < int(count):
        deadline.check(f"{out.count} of {count} records read")
        for records in consumer.poll(200).values():
            for r in records:
                out.put(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
    out.close()
    ends = consumer.end_offsets(all_of(topic))
    if [ends[tp] for tp in all_of(topic)] != out.following:
        sys.exit(f"ends: {ends}")
    consumer.close()


def member(bootstrap, topic, group, _):
    consumer = new_consumer(bootstrap, group_id=group, session_timeout_ms=30000, heartbeat_interval_ms=500)
    leave, following = conform.stdin_ends(), {}

    def commit():
        sys.stdout.flush()
        if following:
            consumer.commit({tp: OffsetAndMetadata(o, "", -1) for tp, o in following.items()})
            following.clear()

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            commit()

        def on_partitions_assigned(self, assigned):
            pass

    consumer.subscribe([topic], listener=Listener())
    while not leave.is_set():
        for tp, records in consumer.poll(100).items():
            for r in records:
                print(r.partition, r.offset)
            following[tp] = records[-1].offset + 1
        commit()
    consumer.close()


def each(consumer, done):
    deadline = conform.Deadline()
    while True:
        deadline.check("reading")
        for records in consumer.poll(100, max_records=1).values():
            for r in records:
                if done(r):
                    return


def positions(bootstrap, topic, group, *times):
    consumer = new_consumer(bootstrap, group_id=group)
    consumer.assign(all_of(topic))

    def seek(offset):
        for tp in all_of(topic):
            consumer.seek(tp, offset)

    first, others = conform.FirstSeen(), conform.Paused()
    seek(conform.SEEK_TO)
    each(consumer, lambda r: first.done(r.partition, r.offset))
    consumer.pause(TopicPartition(topic, 0))
    seek(conform.PAUSED_AT)
    each(consumer, lambda r: others.done(r.partition, r.offset))
    consumer.resume(TopicPartition(topic, 0))
    each(consumer, lambda r: conform.resumed(r.partition, r.offset))
    for at in times:
        for tp, found in consumer.offsets_for_times({tp: int(at) for tp in all_of(topic)}).items():
            print("time", at, tp.partition, -1 if found is None else found.offset)
    consumer.commit({tp: OffsetAndMetadata(conform.committed_in(tp.partition), "", -1) for tp in all_of(topic)})
    for tp, end in consumer.end_offsets(all_of(topic)).items():
        committed = consumer.committed(tp)
        print("lag", tp.partition, committed, end, end - committed)
    consumer.close()


def write_text(producer, topic, records):
    for future in [producer.send(topic, partition=p, value=v) for p, v in records]:
        future.get(60)


def recreate(bootstrap, topic):
    """One producer writes and one consumer reads all the while, by assignment. This client takes what is gone of a topic
    for truncated, and goes on where it ends: it has to be told to begin anew."""
    admin, producer, consumer = KafkaAdminClient(bootstrap_servers=bootstrap), new_producer(bootstrap), new_consumer(bootstrap)
    create(admin, topic)
    write_text(producer, topic, conform.text("old", conform.OLD_RECORDS))
    consumer.assign(all_of(topic))
    old, new = conform.Printed("old", conform.OLD_RECORDS), conform.Printed("new", conform.NEW_RECORDS)
    each(consumer, lambda r: old.done(r.partition, r.offset, r.value))
    admin.delete_topics([topic])
    while True:
        try:
            create(admin, topic)
            break
        except TopicAlreadyExistsError:
            pass
    print("recreated")
    write_text(producer, topic, conform.text("new", conform.NEW_RECORDS))
    print("reopened")
    consumer.seek_to_beginning()
    each(consumer, lambda r: new.done(r.partition, r.offset, r.value))
    consumer.close()


{"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate}[sys.argv[1]](*sys.argv[2:])
