package io.laneway.messages;

import java.nio.charset.StandardCharsets;
import java.util.Collections;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.stereotype.Component;

/** By RocketMQ's own client, which Spring's starters wrap. */
@Component("rocketmq")
class ByRocketMq implements Application.Publisher {
    private static final String TOPIC = "calls";
    /** What brokers make topics after. */
    private static final String ANY = "TBW102";
    private static final int QUEUES = 4;
    private static final int SENT_MILLIS = 30_000;

    private final DefaultMQProducer producer = new DefaultMQProducer("publisher");
    private final DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("listener");

    ByRocketMq(@Value("${rocketmq}") String nameServer, Application.Answers answers) throws MQClientException {
        producer.setNamesrvAddr(nameServer);
        producer.setSendMsgTimeout(SENT_MILLIS);
        producer.start();
        // Who subscribes to a topic that is not there yet hears of it half a minute later.
        producer.createTopic(ANY, TOPIC, QUEUES, Collections.emptyMap());
        consumer.setNamesrvAddr(nameServer);
        consumer.subscribe(TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> answers.call(new String(message.getBody(), StandardCharsets.UTF_8)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
    }

    @Override
    public void publish(String message) throws Exception {
        producer.send(new Message(TOPIC, message.getBytes(StandardCharsets.UTF_8)));
    }
}
