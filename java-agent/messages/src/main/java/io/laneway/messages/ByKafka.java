package io.laneway.messages;

import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.stereotype.Component;

/** As Spring does it. */
@Component("kafka")
class ByKafka implements Application.Publisher {
    private static final String TOPIC = "calls";

    private final KafkaTemplate<String, String> template;
    private final Application.Answers answers;

    ByKafka(KafkaTemplate<String, String> template, Application.Answers answers) {
        this.template = template;
        this.answers = answers;
    }

    @Override
    public void publish(String message) throws Exception {
        template.send(TOPIC, message).get();
    }

    @KafkaListener(topics = TOPIC, groupId = "a")
    void heard(String message) {
        answers.call(message);
    }
}
