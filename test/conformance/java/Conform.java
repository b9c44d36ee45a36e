import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/**
 * Creates a topic, writes the records of a file to it, reads them back into another file and looks offsets up by time.
 * Conform BOOTSTRAP TOPIC CODEC IDEMPOTENT WANT GOT; the files are the judge's. Compiles against kafka-clients 2.8 to 4.4.
 */
public class Conform {
    static final int PARTITIONS = 3;

    public static void main(String[] a) throws Exception {
        String bootstrap = a[0], topic = a[1];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1).configs(Map.of("retention.ms", "-1")))).all().get();
            // Listed first: a broker may take a moment until all of its parts know the topic.
            while (!admin.listTopics().names().get().contains(topic)) Thread.sleep(20);
            long[] written = write(bootstrap, topic, a[2], Boolean.parseBoolean(a[3]), a[4]);
            read(bootstrap, topic, a[4], a[5], written);
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    static long[] write(String bootstrap, String topic, String codec, boolean idempotent, String want) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", codec);
        config.put("acks", "all");
        config.put("enable.idempotence", idempotent);
        config.put("linger.ms", 5);
        long[] written = new long[PARTITIONS];
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
             DataInputStream in = open(want)) {
            for (;;) {
                int partition;
                try { partition = in.readInt(); } catch (EOFException e) { break; }
                long timestamp = in.readLong();
                byte[] key = bytes(in), value = bytes(in);
                List<Header> headers = new ArrayList<>();
                for (int n = in.readInt(); n > 0; n--) {
                    String name = new String(bytes(in), StandardCharsets.UTF_8);
                    headers.add(new RecordHeader(name, bytes(in)));
                }
                producer.send(new ProducerRecord<>(topic, partition, timestamp, key, value, headers), (m, e) -> { if (e != null) failed.compareAndSet(null, e); });
                written[partition]++;
            }
            producer.flush();
        }
        if (failed.get() != null) throw failed.get();
        return written;
    }

    static void read(String bootstrap, String topic, String want, String got, long[] written) throws Exception {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", false);
        config.put("check.crcs", true);
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) all.add(new TopicPartition(topic, p));
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
             DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(got), 1 << 20))) {
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long total = Arrays.stream(written).sum(), n = 0;
            long[] next = new long[PARTITIONS];
            long deadline = System.currentTimeMillis() + 120_000;
            while (n < total) {
                if (System.currentTimeMillis() > deadline) throw new IllegalStateException("read " + n + " of " + total);
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    if (r.offset() != next[r.partition()]++) throw new IllegalStateException("offset " + r.offset() + " of " + r.partition());
                    put(out, r);
                    n++;
                }
            }
            Map<TopicPartition, Long> ends = consumer.endOffsets(all), begins = consumer.beginningOffsets(all);
            for (TopicPartition tp : all)
                if (ends.get(tp) != written[tp.partition()] || begins.get(tp) != 0) throw new IllegalStateException("bounds of " + tp);
            lookUp(consumer, all, want);
        }
    }

    /** The first record at or after a time has the offset that the file says. */
    static void lookUp(KafkaConsumer<byte[], byte[]> consumer, List<TopicPartition> all, String want) throws Exception {
        List<long[]> times = new ArrayList<>(); // partition and timestamp
        try (DataInputStream in = open(want)) {
            for (;;) {
                int partition;
                try { partition = in.readInt(); } catch (EOFException e) { break; }
                times.add(new long[] {partition, in.readLong()});
                bytes(in); bytes(in);
                for (int n = in.readInt(); n > 0; n--) { bytes(in); bytes(in); }
            }
        }
        for (int at : new int[] {0, 1, times.size() / 3, times.size() / 2, times.size() - PARTITIONS}) {
            long target = times.get(at)[1];
            Map<TopicPartition, Long> ask = new HashMap<>();
            for (TopicPartition tp : all) ask.put(tp, target);
            for (Map.Entry<TopicPartition, OffsetAndTimestamp> e : consumer.offsetsForTimes(ask).entrySet()) {
                long expected = times.stream().filter(t -> t[0] == e.getKey().partition() && t[1] < target).count();
                if (e.getValue() == null || e.getValue().offset() != expected)
                    throw new IllegalStateException(e.getKey() + " at " + target + ": " + e.getValue() + " instead of " + expected);
            }
        }
        Map<TopicPartition, Long> after = new HashMap<>();
        after.put(all.get(0), times.get(times.size() - 1)[1] + 1_000_000);
        if (consumer.offsetsForTimes(after).get(all.get(0)) != null) throw new IllegalStateException("an offset after the last record");
    }

    static DataInputStream open(String name) throws IOException {
        return new DataInputStream(new BufferedInputStream(new FileInputStream(name), 1 << 20));
    }

    static byte[] bytes(DataInputStream in) throws IOException {
        int n = in.readInt();
        if (n < 0) return null;
        byte[] b = new byte[n];
        in.readFully(b);
        return b;
    }

    static void put(DataOutputStream out, byte[] b) throws IOException {
        out.writeInt(b == null ? -1 : b.length);
        if (b != null) out.write(b);
    }

    static void put(DataOutputStream out, ConsumerRecord<byte[], byte[]> r) throws IOException {
        out.writeInt(r.partition());
        out.writeLong(r.timestamp());
        put(out, r.key());
        put(out, r.value());
        Header[] headers = r.headers().toArray();
        out.writeInt(headers.length);
        for (Header h : headers) {
            put(out, h.key().getBytes(StandardCharsets.UTF_8));
            put(out, h.value());
        }
    }
}
