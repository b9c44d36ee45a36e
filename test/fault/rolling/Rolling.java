import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.zip.CRC32;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

// Rolling BOOTSTRAP TOPIC PARTITIONS RATE: an application with a producer and a consumer, both with default settings, that says in the
// lines of test/history what it is told, until its standard input ends and it has everything back.
public class Rolling {
  static final int PRODUCER = 0, CONSUMER = 1;
  static volatile boolean ending;

  static synchronized void say(String line) { System.out.println(line); }

  static void told(int who, int partition) { say("P " + who + " " + partition + " " + System.currentTimeMillis()); }

  static void failed(int who, Exception e) { say("F " + who + " " + e.toString().replaceAll("\\s+", " ")); }

  static byte[] value(int partition, long seq) { // as history.Value makes the shortest
    ByteBuffer b = ByteBuffer.allocate(20).putInt(0).putInt(partition).putLong(seq);
    CRC32 crc = new CRC32();
    crc.update(b.array(), 0, 16);
    return b.putInt((int) crc.getValue()).array();
  }

  public static void main(String[] args) throws Exception {
    Properties p = new Properties();
    p.put("bootstrap.servers", args[0]);
    String topic = args[1];
    int partitions = Integer.parseInt(args[2]);
    long gap = 1_000_000_000L / Integer.parseInt(args[3]);
    AtomicLongArray ends = new AtomicLongArray(partitions);
    AtomicInteger pending = new AtomicInteger();
    Properties c = (Properties) p.clone();
    c.put("group.id", topic);
    c.put("auto.offset.reset", "earliest");
    Thread consumer = new Thread(() -> consume(c, topic, ends, pending));
    consumer.start();
    Thread input = new Thread(() -> {
      try { while (System.in.read() >= 0) { } } catch (java.io.IOException e) { }
      ending = true;
    });
    input.setDaemon(true);
    input.start();
    long[] next = new long[partitions];
    pending.incrementAndGet(); // until everything is sent
    try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
      long due = System.nanoTime();
      for (int partition = 0; !ending; partition = (partition + 1) % partitions, due += gap) {
        while (System.nanoTime() < due) Thread.sleep(1);
        send(producer, topic, partition, next[partition]++, ends, pending);
      }
    } catch (Exception e) {
      failed(PRODUCER, e);
    }
    pending.decrementAndGet();
    consumer.join();
  }

  static void send(KafkaProducer<byte[], byte[]> producer, String topic, int partition, long seq, AtomicLongArray ends, AtomicInteger pending) {
    say("S 0 " + partition + " " + seq);
    pending.incrementAndGet();
    producer.send(new ProducerRecord<>(topic, partition, null, value(partition, seq)), (at, e) -> {
      if (e != null) {
        failed(PRODUCER, e);
      } else {
        say("A 0 " + partition + " " + seq + " " + at.offset());
        told(PRODUCER, partition);
        ends.accumulateAndGet(partition, at.offset() + 1, Math::max);
      }
      pending.decrementAndGet();
    });
  }

  static void consume(Properties c, String topic, AtomicLongArray ends, AtomicInteger pending) {
    long[] next = new long[ends.length()];
    try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(c, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(topic));
      while (!ending || pending.get() > 0 || behind(next, ends)) {
        try {
          for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
            say("D 1 " + r.partition() + " " + r.offset() + " " + r.offset());
            told(CONSUMER, r.partition());
            next[r.partition()] = Math.max(next[r.partition()], r.offset() + 1);
          }
        } catch (Exception e) {
          failed(CONSUMER, e);
        }
      }
    }
  }

  static boolean behind(long[] next, AtomicLongArray ends) {
    for (int i = 0; i < next.length; i++) {
      if (next[i] < ends.get(i)) return true;
    }
    return false;
  }
}
