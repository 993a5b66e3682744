package io.laneway.agent.discovery;

import java.nio.charset.StandardCharsets;

/** Reads one message of protocol buffers, field by field. What is malformed is an {@link IllegalArgumentException}. */
final class ProtobufReader {
    private final byte[] bytes;
    private final int end;
    private int at;
    private int wireType;

    ProtobufReader(byte[] bytes) {
        this(bytes, 0, bytes.length);
    }

    private ProtobufReader(byte[] bytes, int from, int end) {
        this.bytes = bytes;
        this.at = from;
        this.end = end;
    }

    /** The number of the next field; 0 at the end. Its value is read, or skipped, before this is called again. */
    int next() {
        if (at == end) {
            return 0;
        }
        int key = (int) number();
        wireType = key & 7;
        return key >>> 3;
    }

    long number() {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            int part = take();
            value |= (long) (part & 0x7f) << shift;
            if ((part & 0x80) == 0) {
                return value;
            }
        }
        throw new IllegalArgumentException("a number is too long");
    }

    boolean flag() {
        return number() != 0;
    }

    /** A number of type {@code sint32}. */
    int signed() {
        long value = number();
        return (int) (value >>> 1 ^ -(value & 1));
    }

    long fixed64() {
        long value = 0;
        for (int shift = 0; shift < 64; shift += 8) {
            value |= (long) take() << shift;
        }
        return value;
    }

    String text() {
        int length = length();
        String text = new String(bytes, at, length, StandardCharsets.UTF_8);
        at += length;
        return text;
    }

    ProtobufReader message() {
        int length = length();
        at += length;
        return new ProtobufReader(bytes, at - length, at);
    }

    /** The same from here on, to be read beside this one. */
    ProtobufReader again() {
        return new ProtobufReader(bytes, at, end);
    }

    boolean isAtEnd() {
        return at == end;
    }

    /** Whether the field's value is a run of bytes: a message, a text, or packed numbers. */
    boolean isRun() {
        return wireType == 2;
    }

    /** Passes over a field that this release does not know. */
    void skip() {
        switch (wireType) {
            case 0:
                number();
                break;
            case 1:
                fixed64();
                break;
            case 2:
                message();
                break;
            case 5:
                for (int count = 0; count < 4; count++) {
                    take();
                }
                break;
            default:
                throw new IllegalArgumentException("no such wire type: " + wireType);
        }
    }

    private int length() {
        long length = number();
        if (length < 0 || length > end - at) {
            throw new IllegalArgumentException("a field reaches beyond its message");
        }
        return (int) length;
    }

    private int take() {
        if (at == end) {
            throw new IllegalArgumentException("a message ends within a field");
        }
        return bytes[at++] & 0xff;
    }
}
