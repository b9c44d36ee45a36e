"""The conformance program of aiokafka; the Go package conform says what its verbs do."""
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

import conform
from conform import PARTITIONS


async def new_admin(bootstrap):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    return admin


async def create(admin, topic):
    answer = await admin.create_topics([NewTopic(topic, PARTITIONS, conform.REPLICAS, topic_configs={"retention.ms": "-1"})])
    for _, code, message in answer.topic_errors:
        if code == TopicAlreadyExistsError.errno:
            raise TopicAlreadyExistsError(message)
        if code:
            sys.exit(f"create: {message}")


async def new_producer(bootstrap, codec="none", idempotent=True):
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, acks="all", enable_idempotence=idempotent,
        max_request_size=conform.MAX_BYTES, max_batch_size=65536, linger_ms=5,
    )
    await producer.start()
    return producer


def new_consumer(bootstrap, **options):
    return AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, check_crcs=True, **options)


def all_of(topic):
    return [TopicPartition(topic, p) for p in range(PARTITIONS)]


async def produce(bootstrap, topic, codec, idempotent, want):
    admin = await new_admin(bootstrap)
    await create(admin, topic)
    await admin.close()
    producer, sent = await new_producer(bootstrap, codec, idempotent == "true"), []
    for partition, timestamp, key, value, headers in conform.read_records(want):
        sent.append(await producer.send(topic, partition=partition, timestamp_ms=timestamp, key=key, value=value, headers=headers))
    await asyncio.gather(*sent)
    await producer.stop()


async def consume(bootstrap, topic, count, got):
    consumer, out, deadline = new_consumer(bootstrap), conform.Got(got), conform.Deadline()
    await consumer.start()
    consumer.assign(all_of(topic))
    await consumer.seek_to_beginning()
    while out.count < int(count):
        deadline.check(f"{out.count} of {count} records read")
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for r in records:
                out.put(r.partition, r.offset, r.timestamp, r.key, r.value, r.headers)
    out.close()
    ends = await consumer.end_offsets(all_of(topic))
    if [ends[tp] for tp in all_of(topic)] != out.following:
        sys.exit(f"ends: {ends}")
    await consumer.stop()


async def member(bootstrap, topic, group, _):
    consumer = new_consumer(bootstrap, group_id=group, session_timeout_ms=30000, heartbeat_interval_ms=500)
    leave, following = conform.stdin_ends(), {}
    one_at_a_time = asyncio.Lock()  # the client calls the listener beside the loop below

    async def commit():
        async with one_at_a_time:
            sys.stdout.flush()
            if following:
                offsets = dict(following)
                following.clear()
                await consumer.commit(offsets)

    class Listener(ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked):
            await commit()

        async def on_partitions_assigned(self, assigned):
            pass

    await consumer.start()
    consumer.subscribe([topic], listener=Listener())
    while not leave.is_set():
        for tp, records in (await consumer.getmany(timeout_ms=100)).items():
            for r in records:
                print(r.partition, r.offset)
            following[tp] = records[-1].offset + 1
        await commit()
    await consumer.stop()


async def each(consumer, done):
    deadline = conform.Deadline()
    while True:
        deadline.check("reading")
        for records in (await consumer.getmany(timeout_ms=100, max_records=1)).values():
            for r in records:
                if done(r):
                    return


async def positions(bootstrap, topic, group, *times):
    consumer = new_consumer(bootstrap, group_id=group)
    await consumer.start()
    consumer.assign(all_of(topic))

    def seek(offset):
        for tp in all_of(topic):
            consumer.seek(tp, offset)

    first, others = conform.FirstSeen(), conform.Paused()
    seek(conform.SEEK_TO)
    await each(consumer, lambda r: first.done(r.partition, r.offset))
    consumer.pause(TopicPartition(topic, 0))
    seek(conform.PAUSED_AT)
    await each(consumer, lambda r: others.done(r.partition, r.offset))
    consumer.resume(TopicPartition(topic, 0))
    await each(consumer, lambda r: conform.resumed(r.partition, r.offset))
    for at in times:
        for tp, found in (await consumer.offsets_for_times({tp: int(at) for tp in all_of(topic)})).items():
            print("time", at, tp.partition, -1 if found is None else found.offset)
    await consumer.commit({tp: conform.committed_in(tp.partition) for tp in all_of(topic)})
    for tp, end in (await consumer.end_offsets(all_of(topic))).items():
        committed = await consumer.committed(tp)
        print("lag", tp.partition, committed, end, end - committed)
    await consumer.stop()


async def write_text(producer, topic, records):
    await asyncio.gather(*[await producer.send(topic, partition=p, value=v) for p, v in records])


async def recreate(bootstrap, topic):
    """One producer writes and one consumer reads all the while, by assignment."""
    admin, producer, consumer = await new_admin(bootstrap), await new_producer(bootstrap), new_consumer(bootstrap)
    await create(admin, topic)
    await write_text(producer, topic, conform.text("old", conform.OLD_RECORDS))
    await consumer.start()
    consumer.assign(all_of(topic))
    old, new = conform.Printed("old", conform.OLD_RECORDS), conform.Printed("new", conform.NEW_RECORDS)
    await each(consumer, lambda r: old.done(r.partition, r.offset, r.value))
    await admin.delete_topics([topic])
    while True:
        try:
            await create(admin, topic)
            break
        except TopicAlreadyExistsError:
            pass
    print("recreated")
    await write_text(producer, topic, conform.text("new", conform.NEW_RECORDS))
    await each(consumer, lambda r: new.done(r.partition, r.offset, r.value))
    await consumer.stop()
    await producer.stop()
    await admin.close()


verbs = {"produce": produce, "consume": consume, "member": member, "positions": positions, "recreate": recreate}
asyncio.run(verbs[sys.argv[1]](*sys.argv[2:]))
