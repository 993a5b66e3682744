package io.laneway.agent.spring;

import static io.opentelemetry.javaagent.extension.matcher.AgentElementMatchers.hasClassesNamed;
import static io.opentelemetry.javaagent.extension.matcher.AgentElementMatchers.implementsInterface;
import static net.bytebuddy.matcher.ElementMatchers.isAbstract;
import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.not;
import static net.bytebuddy.matcher.ElementMatchers.returns;
import static net.bytebuddy.matcher.ElementMatchers.takesArgument;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import java.util.List;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier;
import reactor.core.publisher.Flux;

/**
 * The list of instances that load balancers choose from: {@code ServiceInstanceListSupplier.get(Request)}. What
 * {@code get()} answers is kept for many calls: it is looked at alone.
 */
final class SupplierInstrumentation implements TypeInstrumentation {
    static final String SUPPLIER = "org.springframework.cloud.loadbalancer.core.ServiceInstanceListSupplier";

    @Override
    public ElementMatcher<ClassLoader> classLoaderOptimization() {
        return hasClassesNamed(SUPPLIER);
    }

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        // The interface itself too: it is its default method that most suppliers are asked by.
        return named(SUPPLIER).or(implementsInterface(named(SUPPLIER)));
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                named("get")
                        .and(takesArguments(1))
                        .and(takesArgument(0, named("org.springframework.cloud.client.loadbalancer.Request")))
                        .and(returns(named("reactor.core.publisher.Flux")))
                        .and(not(isAbstract())),
                SupplierInstrumentation.class.getName() + "$GetAdvice");
        transformer.applyAdviceToMethod(
                named("get")
                        .and(takesArguments(0))
                        .and(returns(named("reactor.core.publisher.Flux")))
                        .and(not(isAbstract())),
                SupplierInstrumentation.class.getName() + "$GetAllAdvice");
    }

    /** Put into the method. */
    public static class GetAllAdvice {
        /** After. */
        @Advice.OnMethodExit(suppress = Throwable.class)
        public static void exit(
                @Advice.This ServiceInstanceListSupplier supplier,
                @Advice.Return(readOnly = false) Flux<List<ServiceInstance>> instances) {
            instances = LoadBalancing.seen(supplier, instances);
        }
    }

    /** Put into the method. */
    public static class GetAdvice {
        /** Before. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static int enter() {
            return LoadBalancing.asked();
        }

        /** After. */
        @Advice.OnMethodExit(suppress = Throwable.class)
        public static void exit(
                @Advice.This ServiceInstanceListSupplier supplier,
                @Advice.Enter int asked,
                @Advice.Return(readOnly = false) Flux<List<ServiceInstance>> instances) {
            instances = LoadBalancing.allowed(supplier, asked, instances);
        }
    }
}
