package io.laneway.agent.decision;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * Bytes of requests as strings of one char per byte. What a request brings need not be UTF-8, and is compared byte for
 * byte.
 */
final class Bytes {
    private Bytes() {}

    /** The UTF-8 bytes of what an operator wrote. */
    static String of(String text) {
        return new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
    }

    static byte[] raw(String bytes) {
        return bytes.getBytes(StandardCharsets.ISO_8859_1);
    }

    /** As text; {@code null} if it is no UTF-8. */
    static String text(String bytes) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw(bytes))).toString();
        } catch (CharacterCodingException malformed) {
            return null;
        }
    }

    /** Surrounding spaces and tabs do not count. */
    static String trim(String value) {
        int start = 0;
        int end = value.length();
        while (start < end && isBlank(value.charAt(start))) {
            start++;
        }
        while (end > start && isBlank(value.charAt(end - 1))) {
            end--;
        }
        return value.substring(start, end);
    }

    private static boolean isBlank(char letter) {
        return letter == ' ' || letter == '\t';
    }

    static String decodeQuery(String value) {
        return decodePercent(value.replace('+', ' '));
    }

    /** What is no escape stays as it is. */
    static String decodePercent(String value) {
        if (value.indexOf('%') < 0) {
            return value;
        }
        StringBuilder decoded = new StringBuilder();
        for (int at = 0; at < value.length(); at++) {
            char letter = value.charAt(at);
            int high = letter == '%' && at + 2 < value.length() ? digit(value.charAt(at + 1)) : -1;
            int low = high < 0 ? -1 : digit(value.charAt(at + 2));
            if (low < 0) {
                decoded.append(letter);
            } else {
                decoded.append((char) (high << 4 | low));
                at += 2;
            }
        }
        return decoded.toString();
    }

    private static int digit(char letter) {
        return letter < 128 ? Character.digit(letter, 16) : -1;
    }
}
