package io.laneway.agent;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.DataInputStream;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** It runs in every application: there is no JDK 8 to try it on, and what one would refuse first is a later class file. */
class ClassFilesTest {
    private static final int JAVA_8 = 52;

    @Test
    void every_class_can_be_loaded_by_java_8() throws IOException, URISyntaxException {
        Path classes = Paths.get(Agent.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        try (Stream<Path> all = Files.walk(classes)) {
            List<Path> files = all.filter(file -> file.toString().endsWith(".class")).collect(Collectors.toList());
            assertFalse(files.isEmpty());
            for (Path file : files) {
                try (DataInputStream in = new DataInputStream(Files.newInputStream(file))) {
                    in.readInt();
                    in.readUnsignedShort();
                    assertEquals(JAVA_8, in.readUnsignedShort(), file.toString());
                }
            }
        }
    }
}
