package io.laneway.agent.bridge;

/** What a caller is told whose request is not for this instance. */
public final class Refusal {
    /** The field by which proxies of Laneway know that they have to choose again. */
    public static final String FIELD = "laneway-refused";
    /** What it says. */
    public static final String MISROUTED = "misrouted";
    private static final int CHOOSE_AGAIN = 421;
    private static final int UNAVAILABLE = 503;

    /** Whether its caller is a proxy of Laneway, which chooses another instance. */
    public final boolean isChosenAgain;
    /** For people. */
    public final String reason;

    /** With both. */
    public Refusal(boolean isChosenAgain, String reason) {
        this.isChosenAgain = isChosenAgain;
        this.reason = reason;
    }

    /** Of HTTP. */
    public int status() {
        return isChosenAgain ? CHOOSE_AGAIN : UNAVAILABLE;
    }
}
