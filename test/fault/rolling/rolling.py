"""rolling.py BOOTSTRAP TOPIC PARTITIONS RATE: an application with a producer and a consumer of confluent-kafka (librdkafka), both with
default settings, that says in the lines of test/history what it is told, until its standard input ends and it has everything back."""

import struct
import sys
import threading
import time
import zlib

from confluent_kafka import Consumer, KafkaException, Producer

PRODUCER, CONSUMER = 0, 1
lock = threading.Lock()
ending = threading.Event()
flushed = threading.Event()


def say(line):
    with lock:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def told(who, partition):
    say(f"P {who} {partition} {int(time.time() * 1000)}")


def failed(who, error):
    say(f"F {who} {' '.join(str(error).split())}")


def noted(who):
    """librdkafka's error callback: what it tells there it mends by itself, but for what is fatal."""

    def callback(error):
        (failed if error.fatal() else lambda w, e: say(f"N {w} {' '.join(str(e).split())}"))(who, error)

    return callback


def value(partition, seq):
    """as history.Value makes the shortest"""
    head = struct.pack(">iiq", 0, partition, seq)
    return head + struct.pack(">I", zlib.crc32(head))


def produce(bootstrap, topic, partitions, rate, ends):
    producer = Producer({"bootstrap.servers": bootstrap, "error_cb": noted(PRODUCER)})

    def delivered(seq):
        def callback(error, message):
            if error is not None:
                failed(PRODUCER, error)
                return
            partition, offset = message.partition(), message.offset()
            say(f"A 0 {partition} {seq} {offset}")
            told(PRODUCER, partition)
            ends[partition] = max(ends[partition], offset + 1)

        return callback

    following = [0] * partitions
    due, partition = time.monotonic(), 0
    while not ending.is_set():
        while (wait := due - time.monotonic()) > 0:
            producer.poll(min(wait, 0.01))
        seq = following[partition]
        following[partition] += 1
        say(f"S 0 {partition} {seq}")
        producer.produce(topic, value(partition, seq), partition=partition, on_delivery=delivered(seq))
        partition, due = (partition + 1) % partitions, due + 1 / rate
    if producer.flush(60) > 0:
        failed(PRODUCER, "not everything was acknowledged within a minute")
    flushed.set()


def consume(bootstrap, topic, partitions, ends):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest", "error_cb": noted(CONSUMER)})
    consumer.subscribe([topic])
    following = [0] * partitions
    while not flushed.is_set() or any(a < b for a, b in zip(following, ends)):
        try:
            message = consumer.poll(0.1)
        except KafkaException as e:
            failed(CONSUMER, e)
            continue
        if message is None:
            continue
        if message.error():
            failed(CONSUMER, message.error())
            continue
        partition, offset = message.partition(), message.offset()
        say(f"D 1 {partition} {offset} {offset}")
        told(CONSUMER, partition)
        following[partition] = max(following[partition], offset + 1)
    consumer.close()


def main():
    bootstrap, topic, partitions, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    ends = [0] * partitions
    threads = [
        threading.Thread(target=produce, args=(bootstrap, topic, partitions, rate, ends)),
        threading.Thread(target=consume, args=(bootstrap, topic, partitions, ends)),
    ]
    for t in threads:
        t.start()
    sys.stdin.read()
    ending.set()
    for t in threads:
        t.join()


main()
