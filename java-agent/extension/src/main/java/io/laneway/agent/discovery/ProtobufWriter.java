package io.laneway.agent.discovery;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** Writes one message of protocol buffers. Fields with the default value are left out. */
final class ProtobufWriter {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    ProtobufWriter text(int field, String value) {
        return value.isEmpty() ? this : run(field, value.getBytes(StandardCharsets.UTF_8));
    }

    ProtobufWriter number(int field, long value) {
        if (value != 0) {
            varint((long) field << 3);
            varint(value);
        }
        return this;
    }

    /** A message within this one; written even when it is empty. */
    ProtobufWriter message(int field, ProtobufWriter message) {
        return run(field, message.bytes());
    }

    /** Numbers in one run; of none nothing is written. */
    ProtobufWriter packed(int field, int[] values) {
        if (values.length == 0) {
            return this;
        }
        ProtobufWriter run = new ProtobufWriter();
        for (int value : values) {
            run.varint(value & 0xffff_ffffL);
        }
        return run(field, run.bytes());
    }

    byte[] bytes() {
        return out.toByteArray();
    }

    ProtobufWriter run(int field, byte[] value) {
        varint((long) field << 3 | 2);
        varint(value.length);
        out.write(value, 0, value.length);
        return this;
    }

    private void varint(long value) {
        long rest = value;
        while ((rest & ~0x7fL) != 0) {
            out.write((int) (rest & 0x7f | 0x80));
            rest >>>= 7;
        }
        out.write((int) rest);
    }
}
