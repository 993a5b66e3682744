package io.laneway.agent.decision;

/** The one form of a path that conditions read, as {@code crates/routes/src/normal.rs} has it. */
public final class Paths {
    private static final String DIGITS = "0123456789ABCDEF";

    private Paths() {}

    /**
     * Percent-encoding of characters that need none is undone, and what is beyond ASCII is encoded. A path that has no one
     * form, which gateways refuse, is left as it is. One char per byte.
     */
    public static String normalised(String path) {
        StringBuilder out = new StringBuilder(path.length());
        for (int at = 0; at < path.length(); at++) {
            char letter = path.charAt(at);
            if (letter == '\\') {
                return path;
            }
            if (letter != '%') {
                push(letter, out);
                continue;
            }
            int high = at + 2 < path.length() ? DIGITS.indexOf(Character.toUpperCase(path.charAt(at + 1))) : -1;
            int low = high < 0 ? -1 : DIGITS.indexOf(Character.toUpperCase(path.charAt(at + 2)));
            int decoded = high << 4 | low;
            if (low < 0 || decoded == 0 || decoded == '/' || decoded == '\\') {
                return path;
            }
            if (isUnreserved(decoded)) {
                out.append((char) decoded);
            } else {
                out.append('%').append(DIGITS.charAt(high)).append(DIGITS.charAt(low));
            }
            at += 2;
        }
        return hasDots(out.toString()) ? path : out.toString();
    }

    private static void push(char letter, StringBuilder out) {
        if (letter < 0x80) {
            out.append(letter);
        } else {
            out.append('%').append(DIGITS.charAt(letter >> 4 & 15)).append(DIGITS.charAt(letter & 15));
        }
    }

    private static boolean isUnreserved(int letter) {
        return letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '0' && letter <= '9'
                || "-._~".indexOf(letter) >= 0;
    }

    private static boolean hasDots(String path) {
        for (String segment : path.split("/")) {
            String name = segment.split(";", 2)[0];
            if (name.equals(".") || name.equals("..")) {
                return true;
            }
        }
        return false;
    }
}
