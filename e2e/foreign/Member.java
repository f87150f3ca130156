import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a consumer group on the Java client. It writes the partition and the offset of each
 * record that it consumes, one record a line, and leaves the group when its input ends.
 *
 * <p>The arguments are the brokers, the group, the topic, the session timeout and the heartbeat
 * interval in milliseconds, the assignors (without them the client's default), and the instance id of a
 * static member.
 */
public final class Member {
    private static final Duration POLL = Duration.ofMillis(100);

    public static void main(String[] args) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("group.id", args[1]);
        properties.put("client.id", "java");
        properties.put("auto.offset.reset", "earliest");
        properties.put("session.timeout.ms", args[3]);
        properties.put("heartbeat.interval.ms", args[4]);
        if (!args[5].isEmpty()) {
            properties.put("partition.assignment.strategy", args[5]);
        }
        if (!args[6].isEmpty()) {
            properties.put("group.instance.id", args[6]);
        }
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, bytes, bytes)) {
            AtomicBoolean leaving = new AtomicBoolean();
            Thread listener = new Thread(() -> {
                awaitEndOfInput();
                leaving.set(true);
            });
            listener.setDaemon(true);
            listener.start();
            consumer.subscribe(List.of(args[2]), new CommitWhenRevoked(consumer));
            boolean committed = false;
            while (!committed) {
                boolean last = leaving.get();
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                    System.out.println(record.partition() + " " + record.offset());
                }
                committed = last && commit(consumer);
            }
        }
    }

    /**
     * Commits what was consumed and tells whether it could: in a rebalance it cannot, and poll has to complete that
     * first. Close commits, too, but only logs that it could not.
     */
    private static boolean commit(KafkaConsumer<?, ?> consumer) {
        try {
            consumer.commitSync();
            return true;
        } catch (RebalanceInProgressException e) {
            System.err.println(e);
            return false;
        }
    }

    /**
     * Commits what was consumed up to the revocation. The client by itself does so when a rebalance begins, and
     * a cooperative member goes on consuming after that.
     */
    private record CommitWhenRevoked(KafkaConsumer<?, ?> consumer) implements ConsumerRebalanceListener {
        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            // They begin where they are committed.
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            consumer.commitSync();
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            // Others have them.
        }
    }

    private static void awaitEndOfInput() {
        try {
            while (System.in.read() >= 0) {
                // Nothing is sent.
            }
        } catch (IOException e) {
            // That is an end, too.
        }
    }
}
