package io.laneway.agent.decision;

/** Names that travel: group names (DNS labels) and tags (Kubernetes label values). */
public final class Names {
    /** What the base is called where it is named. */
    public static final String BASE = "base";

    /** What a DNS label and a Kubernetes label value may have. */
    private static final int LENGTH_MAX = 63;

    private Names() {}

    /** Whether this may be a group's name. */
    public static boolean isGroup(String text) {
        return isWord(text, "-", false);
    }

    /** Whether this may be a tag. {@code base} and the empty word are none: they mean untagged. */
    public static boolean isTag(String text) {
        return !text.equals(BASE) && isWord(text, "-_.", true);
    }

    /** Whether it says, as a tag, that there is none. */
    public static boolean isBase(String text) {
        return text.isEmpty() || text.equals(BASE);
    }

    private static boolean isWord(String text, String inner, boolean upperCase) {
        int length = text.length();
        if (length == 0 || length > LENGTH_MAX) {
            return false;
        }
        for (int at = 0; at < length; at++) {
            char letter = text.charAt(at);
            boolean outer = letter >= 'a' && letter <= 'z' || letter >= '0' && letter <= '9'
                    || upperCase && letter >= 'A' && letter <= 'Z';
            boolean isEnd = at == 0 || at == length - 1;
            if (!outer && (isEnd || inner.indexOf(letter) < 0)) {
                return false;
            }
        }
        return true;
    }
}
