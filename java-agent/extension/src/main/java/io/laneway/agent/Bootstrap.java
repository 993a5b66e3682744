package io.laneway.agent;

import io.opentelemetry.javaagent.bootstrap.InstrumentationHolder;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.lang.instrument.Instrumentation;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.Map;
import net.bytebuddy.dynamic.loading.ClassInjector;

/** Puts the bridge where both the agent and every application see it, before anyone asks for it. */
public final class Bootstrap {
    private static final String[] BRIDGE = {"Bridge", "Router", "Instance"};
    private static boolean injected;

    private Bootstrap() {}

    /** Does it once. */
    public static synchronized void inject() {
        if (injected) {
            return;
        }
        injected = true;
        Instrumentation instrumentation = InstrumentationHolder.getInstrumentation();
        try {
            Map<String, byte[]> classes = new HashMap<>();
            for (String name : BRIDGE) {
                classes.put("io.laneway.agent.bridge." + name, read("bridge/" + name + ".class"));
            }
            File folder = Files.createTempDirectory("laneway-agent").toFile();
            folder.deleteOnExit();
            ClassInjector.UsingInstrumentation.of(folder, ClassInjector.UsingInstrumentation.Target.BOOTSTRAP, instrumentation)
                    .injectRaw(classes);
            for (File jar : folder.listFiles()) {
                jar.deleteOnExit();
            }
        } catch (IOException error) {
            throw new IllegalStateException("prepare a jar for the bootstrap class loader", error);
        }
    }

    private static byte[] read(String name) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (InputStream in = Bootstrap.class.getResourceAsStream(name)) {
            byte[] piece = new byte[8192];
            for (int length = in.read(piece); length >= 0; length = in.read(piece)) {
                out.write(piece, 0, length);
            }
        }
        return out.toByteArray();
    }
}
