package io.laneway.agent.nacos;

import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.namedOneOf;
import static net.bytebuddy.matcher.ElementMatchers.takesArgument;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import com.alibaba.nacos.api.naming.pojo.Instance;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import java.util.List;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;

/**
 * Registrations, one and several, and what is put in their place. Every way of registering ends in one of these methods. Of several, those that leave are
 * found by all that they say: they have to say the same.
 */
final class NamingServiceInstrumentation implements TypeInstrumentation {
    static final String SERVICE = "com.alibaba.nacos.client.naming.NacosNamingService";

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return namedOneOf(SERVICE, "com.alibaba.nacos.client.naming.NacosNamingMaintainService");
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                namedOneOf("registerInstance", "updateInstance")
                        .and(takesArguments(3))
                        .and(takesArgument(2, named("com.alibaba.nacos.api.naming.pojo.Instance"))),
                NamingServiceInstrumentation.class.getName() + "$RegisterAdvice");
        transformer.applyAdviceToMethod(
                namedOneOf("batchRegisterInstance", "batchDeregisterInstance")
                        .and(takesArguments(3))
                        .and(takesArgument(2, named("java.util.List"))),
                NamingServiceInstrumentation.class.getName() + "$BatchAdvice");
    }

    /** Put into the method. */
    public static class RegisterAdvice {
        /** Before. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static void enter(@Advice.Argument(2) Instance instance) {
            Registering.complete(instance);
        }
    }

    /** Put into the method. */
    public static class BatchAdvice {
        /** Before. */
        @Advice.OnMethodEnter(suppress = Throwable.class)
        public static void enter(@Advice.Argument(2) List<Instance> instances) {
            Registering.complete(instances);
        }
    }
}
