import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/**
 * The conformance program of the Java client; the Go package conform says what its verbs do. Compiles against kafka-clients
 * 2.8 to 4.4.
 */
public class Conform {
    static final short REPLICAS = Short.parseShort(System.getenv().getOrDefault("REPLICAS", "1"));
    static final int PARTITIONS = 3, SEEK_TO = 100, PAUSED_AT = 150, READ_OTHERS = 100, OLD_RECORDS = 300, NEW_RECORDS = 30;
    static final long PATIENCE_MS = 120_000;

    public static void main(String[] a) throws Exception {
        String bootstrap = a[1], topic = a[2];
        switch (a[0]) {
            case "produce": produce(bootstrap, topic, a[3], Boolean.parseBoolean(a[4]), a[5]); break;
            case "consume": consume(bootstrap, topic, Long.parseLong(a[3]), a[4]); break;
            case "member": member(bootstrap, topic, a[3], a[4]); break;
            case "positions": positions(bootstrap, topic, a[3], Arrays.copyOfRange(a, 4, a.length)); break;
            case "recreate": recreate(bootstrap, topic); break;
            default: throw new IllegalArgumentException(a[0]);
        }
    }

    static void create(Admin admin, String topic) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, REPLICAS).configs(Map.of("retention.ms", "-1")))).all().get();
        // Listed first: a broker may take a moment until all of its parts know the topic.
        while (!admin.listTopics().names().get().contains(topic)) Thread.sleep(20);
    }

    static KafkaProducer<byte[], byte[]> newProducer(String bootstrap, String codec, boolean idempotent) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("compression.type", codec);
        config.put("acks", "all");
        config.put("enable.idempotence", idempotent);
        config.put("linger.ms", 5);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> newConsumer(String bootstrap, String group, String protocol) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        config.put("check.crcs", true);
        if (group != null) {
            config.put("group.id", group);
            if (protocol.equals("classic")) {
                config.put("session.timeout.ms", 30000);
                config.put("heartbeat.interval.ms", 500);
            } else {
                config.put("group.protocol", protocol);
            }
        }
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<TopicPartition> allOf(String topic) {
        List<TopicPartition> all = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) all.add(new TopicPartition(topic, p));
        return all;
    }

    static void produce(String bootstrap, String topic, String codec, boolean idempotent, String want) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            create(admin, topic);
        }
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer = newProducer(bootstrap, codec, idempotent);
             DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(want), 1 << 20))) {
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
            }
            producer.flush();
        }
        if (failed.get() != null) throw failed.get();
    }

    static void consume(String bootstrap, String topic, long total, String got) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = newConsumer(bootstrap, null, "classic");
             DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(got), 1 << 20))) {
            List<TopicPartition> all = allOf(topic);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            long n = 0, deadline = System.currentTimeMillis() + PATIENCE_MS;
            long[] next = new long[PARTITIONS];
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
                if (ends.get(tp) != next[tp.partition()] || begins.get(tp) != 0) throw new IllegalStateException("bounds of " + tp);
        }
    }

    static void member(String bootstrap, String topic, String group, String protocol) throws Exception {
        AtomicBoolean leave = new AtomicBoolean();
        Thread stdin = new Thread(() -> {
            try { while (System.in.read() >= 0) { } } catch (IOException e) { }
            leave.set(true);
        });
        stdin.setDaemon(true);
        stdin.start();
        PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false);
        Map<TopicPartition, OffsetAndMetadata> read = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = newConsumer(bootstrap, group, protocol)) {
            Runnable commit = () -> {
                out.flush();
                if (!read.isEmpty()) consumer.commitSync(read);
                read.clear();
            };
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) { commit.run(); }
                public void onPartitionsAssigned(Collection<TopicPartition> assigned) { }
            });
            while (!leave.get()) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    out.println(r.partition() + " " + r.offset());
                    read.put(new TopicPartition(topic, r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                commit.run();
            }
        }
    }

    /** Polls until done says so of some record; the rest of that poll is dropped. */
    static void each(KafkaConsumer<byte[], byte[]> consumer, Predicate<ConsumerRecord<byte[], byte[]>> done) {
        for (long deadline = System.currentTimeMillis() + PATIENCE_MS; System.currentTimeMillis() < deadline; )
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100)))
                if (done.test(r)) return;
        throw new IllegalStateException("not read within " + PATIENCE_MS + " ms");
    }

    static void positions(String bootstrap, String topic, String group, String[] times) {
        List<TopicPartition> all = allOf(topic);
        try (KafkaConsumer<byte[], byte[]> consumer = newConsumer(bootstrap, group, "classic")) {
            consumer.assign(all);
            for (TopicPartition tp : all) consumer.seek(tp, SEEK_TO);
            Set<Integer> seen = new HashSet<>();
            each(consumer, r -> {
                if (seen.add(r.partition())) System.out.println("seek " + r.partition() + " " + r.offset());
                return seen.size() == PARTITIONS;
            });
            consumer.pause(all.subList(0, 1));
            for (TopicPartition tp : all) consumer.seek(tp, PAUSED_AT);
            int[] counts = new int[2];
            each(consumer, r -> {
                counts[r.partition() == 0 ? 0 : 1]++;
                return counts[1] >= READ_OTHERS;
            });
            System.out.println("paused 0 " + counts[0]);
            consumer.resume(all.subList(0, 1));
            each(consumer, r -> {
                if (r.partition() == 0) System.out.println("resumed 0 " + r.offset());
                return r.partition() == 0;
            });
            for (String at : times) {
                Map<TopicPartition, Long> ask = new HashMap<>();
                for (TopicPartition tp : all) ask.put(tp, Long.parseLong(at));
                Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(ask);
                for (TopicPartition tp : all)
                    System.out.println("time " + at + " " + tp.partition() + " " + (found.get(tp) == null ? -1 : found.get(tp).offset()));
            }
            Map<TopicPartition, OffsetAndMetadata> commit = new HashMap<>();
            for (TopicPartition tp : all) commit.put(tp, new OffsetAndMetadata(50L * (tp.partition() + 1)));
            consumer.commitSync(commit);
            Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(new HashSet<>(all));
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            for (TopicPartition tp : all) {
                long at = committed.get(tp).offset(), end = ends.get(tp);
                System.out.println("lag " + tp.partition() + " " + at + " " + end + " " + (end - at));
            }
        }
    }

    /** One producer writes and one consumer reads all the while, by assignment. */
    static void recreate(String bootstrap, String topic) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
             KafkaProducer<byte[], byte[]> producer = newProducer(bootstrap, "none", true);
             KafkaConsumer<byte[], byte[]> consumer = newConsumer(bootstrap, null, "classic")) {
            create(admin, topic);
            write(producer, topic, "old", OLD_RECORDS);
            consumer.assign(allOf(topic));
            print(consumer, "old", OLD_RECORDS);
            admin.deleteTopics(List.of(topic)).all().get();
            for (boolean there = false; !there; ) {
                try {
                    create(admin, topic);
                    there = true;
                } catch (ExecutionException e) {
                    if (!(e.getCause() instanceof TopicExistsException)) throw e;
                }
            }
            System.out.println("recreated");
            write(producer, topic, "new", NEW_RECORDS);
            print(consumer, "new", NEW_RECORDS);
        }
    }

    static void write(KafkaProducer<byte[], byte[]> producer, String topic, String prefix, int n) throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < n; i++) sent.add(producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, (prefix + "-" + i).getBytes())));
        for (java.util.concurrent.Future<RecordMetadata> f : sent) f.get();
    }

    static void print(KafkaConsumer<byte[], byte[]> consumer, String prefix, int n) {
        int[] left = {n};
        each(consumer, r -> {
            String value = new String(r.value());
            System.out.println("record " + r.partition() + " " + r.offset() + " " + value);
            if (value.startsWith(prefix)) left[0]--;
            return left[0] == 0;
        });
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
