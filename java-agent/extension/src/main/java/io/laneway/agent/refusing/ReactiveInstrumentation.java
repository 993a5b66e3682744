package io.laneway.agent.refusing;

import static net.bytebuddy.matcher.ElementMatchers.named;
import static net.bytebuddy.matcher.ElementMatchers.takesArgument;
import static net.bytebuddy.matcher.ElementMatchers.takesArguments;

import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import io.opentelemetry.javaagent.extension.instrumentation.TypeTransformer;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.description.type.TypeDescription;
import net.bytebuddy.matcher.ElementMatcher;
import org.springframework.http.server.reactive.ServerHttpResponse;
import reactor.core.publisher.Mono;

/** {@code HttpWebHandlerAdapter.handle}, where a server hands a request to Spring, before any of its filters. */
final class ReactiveInstrumentation implements TypeInstrumentation {
    static final String ADAPTER = "org.springframework.web.server.adapter.HttpWebHandlerAdapter";

    @Override
    public ElementMatcher<TypeDescription> typeMatcher() {
        return named(ADAPTER);
    }

    @Override
    public void transform(TypeTransformer transformer) {
        transformer.applyAdviceToMethod(
                named("handle").and(takesArguments(2))
                        .and(takesArgument(1, named("org.springframework.http.server.reactive.ServerHttpResponse"))),
                ReactiveInstrumentation.class.getName() + "$HandleAdvice");
    }

    /** Put into the method. */
    public static class HandleAdvice {
        /** Before, and in its place where it answers. */
        @Advice.OnMethodEnter(suppress = Throwable.class, skipOn = Advice.OnNonDefaultValue.class)
        public static Mono<Void> enter(@Advice.Argument(1) ServerHttpResponse response) {
            return RefusingReactive.answer(response);
        }

        /** After. */
        @Advice.OnMethodExit(suppress = Throwable.class)
        public static void exit(@Advice.Enter Mono<Void> answer, @Advice.Return(readOnly = false) Mono<Void> handled) {
            if (answer != null) {
                handled = answer;
            }
        }
    }
}
