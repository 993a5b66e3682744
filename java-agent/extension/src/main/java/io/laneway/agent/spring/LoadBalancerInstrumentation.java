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
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.loadbalancer.Response;
import reactor.core.publisher.Mono;

/** What load balancers chose, whoever wrote them: {@code ReactorServiceInstanceLoadBalancer.choose(Request)}. */
final class LoadBalancerInstrumentation implements TypeInstrumentation {
    private static final String BALANCER = "org.springframework.cloud.loadbalancer.core.ReactorServiceInstanceLoadBalancer";

    @Override
    public ElementMatcher<ClassLoader> classLoaderOptimization() {
        return hasClassesNamed(BALANCER);
    }

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return implementsInterface(named(BALANCER));
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                named("choose")
                        .and(takesArguments(1))
                        .and(takesArgument(0, named("org.springframework.cloud.client.loadbalancer.Request")))
                        .and(returns(named("reactor.core.publisher.Mono")))
                        .and(not(isAbstract())),
                LoadBalancerInstrumentation.class.getName() + "$ChooseAdvice");
    }

    /** Put into the method. */
    public static class ChooseAdvice {
        /** After. */
        @Advice.OnMethodExit(suppress = Throwable.class)
        public static void exit(@Advice.Return(readOnly = false) Mono<Response<ServiceInstance>> chosen) {
            chosen = LoadBalancing.checked(chosen);
        }
    }
}
