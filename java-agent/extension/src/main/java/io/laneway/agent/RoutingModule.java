package io.laneway.agent;

/** An adapter that chooses whom is called, or refuses who calls: none of it beside a sidecar, which does. */
public abstract class RoutingModule extends AdapterModule {
    private static final boolean IS_ROUTING = new Settings(System::getProperty, System::getenv).isRouting(unused -> {});

    /** As {@link AdapterModule}. */
    protected RoutingModule(String name, String libraryClass, String... helpers) {
        super(name, libraryClass, helpers);
    }

    @Override
    protected boolean isWanted() {
        return IS_ROUTING;
    }
}
