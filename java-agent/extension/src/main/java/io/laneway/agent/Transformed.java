package io.laneway.agent;

import io.laneway.agent.refusing.ReactiveModule;
import io.laneway.agent.threads.ThreadModule;
import io.opentelemetry.javaagent.extension.ignore.IgnoredTypesBuilder;
import io.opentelemetry.javaagent.extension.ignore.IgnoredTypesConfigurer;
import io.opentelemetry.sdk.autoconfigure.spi.ConfigProperties;

/** What OpenTelemetry's agent leaves as it is unless it is told otherwise: the JVM's own classes, and most of Spring's. */
public final class Transformed implements IgnoredTypesConfigurer {
    @Override
    public void configure(IgnoredTypesBuilder builder, ConfigProperties unused) {
        ThreadModule.TRANSFORMED.forEach(builder::allowClass);
        builder.allowClass(ReactiveModule.TRANSFORMED);
    }
}
