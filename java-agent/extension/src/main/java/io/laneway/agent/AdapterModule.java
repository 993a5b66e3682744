package io.laneway.agent;

import static io.opentelemetry.javaagent.extension.matcher.AgentElementMatchers.hasClassesNamed;

import io.opentelemetry.javaagent.extension.instrumentation.InstrumentationModule;
import io.opentelemetry.javaagent.extension.instrumentation.TypeInstrumentation;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import net.bytebuddy.matcher.ElementMatcher;

/** What adapters to a library have in common: they are there where the library is, and where the bridge can be put. */
public abstract class AdapterModule extends InstrumentationModule {
    private final String libraryClass;
    private final List<String> helpers;
    private final boolean isPossible;

    /** {@code libraryClass}: by whose presence the library is known. {@code helpers}: classes put beside the application's. */
    protected AdapterModule(String name, String libraryClass, String... helpers) {
        super(name, "laneway");
        this.libraryClass = libraryClass;
        this.helpers = Arrays.asList(helpers);
        isPossible = Bootstrap.inject();
    }

    /** Whether what it adapts is this agent's to do at all. */
    protected boolean isWanted() {
        return true;
    }

    /** What is put into the library's classes. */
    protected abstract List<TypeInstrumentation> adapters();

    @Override
    public ElementMatcher.Junction<ClassLoader> classLoaderMatcher() {
        return hasClassesNamed(libraryClass);
    }

    @Override
    public boolean isHelperClass(String className) {
        return getAdditionalHelperClassNames().contains(className);
    }

    @Override
    public List<String> getAdditionalHelperClassNames() {
        return isPossible && isWanted() ? helpers : Collections.<String>emptyList();
    }

    @Override
    public List<TypeInstrumentation> typeInstrumentations() {
        return isPossible && isWanted() ? adapters() : Collections.<TypeInstrumentation>emptyList();
    }
}
