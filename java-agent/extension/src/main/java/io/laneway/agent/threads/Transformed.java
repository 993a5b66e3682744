package io.laneway.agent.threads;

import io.opentelemetry.javaagent.extension.ignore.IgnoredTypesBuilder;
import io.opentelemetry.javaagent.extension.ignore.IgnoredTypesConfigurer;
import io.opentelemetry.sdk.autoconfigure.spi.ConfigProperties;

/** What OpenTelemetry's agent leaves as it is unless it is told otherwise: the JVM's own classes. */
public final class Transformed implements IgnoredTypesConfigurer {
    @Override
    public void configure(IgnoredTypesBuilder builder, ConfigProperties unused) {
        builder.allowClass(ThreadInstrumentation.THREAD);
        builder.allowClass(ThreadInstrumentation.VIRTUAL_THREAD);
        for (String queue : QueueInstrumentation.QUEUES) {
            builder.allowClass(queue);
        }
    }
}
