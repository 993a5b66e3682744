package io.laneway.agent.decision;

import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** One parameter, one operator (semantics §4). */
public final class Condition {
    /** What is asked of the values. */
    public enum Operator { AMONG, NOT_AMONG, PERCENTAGE, REGEX, PREFIX, EXISTS, NOT_EXISTS, CIDR }

    /**
     * Characters a regular expression may look at for one value. Those of this platform go back and forth, which others
     * do not: the longest head of a request is read through many times within it, and it takes a millisecond.
     */
    private static final int REGEX_STEPS_MAX = 1_000_000;

    private final Parameter parameter;
    private final Operator operator;
    private final Set<String> words = new HashSet<>();
    private int percent;
    private Pattern pattern;
    private Addresses.Network network;

    /** With the one operand; for {@code percentage} a number. Refuses what no control plane would let pass. */
    public Condition(Parameter parameter, Operator operator, String operand) {
        this(parameter, operator, Collections.singletonList(operand));
    }

    /** With several operands. */
    public Condition(Parameter parameter, Operator operator, Collection<String> operands) {
        this.parameter = parameter;
        this.operator = operator;
        for (String operand : operands) {
            take(operand);
        }
    }

    private void take(String operand) {
        switch (operator) {
            case PERCENTAGE:
                percent = Integer.parseInt(operand);
                break;
            case REGEX:
                try {
                    pattern = Pattern.compile(operand, Pattern.UNICODE_CHARACTER_CLASS);
                } catch (PatternSyntaxException error) {
                    throw new IllegalArgumentException("regex `" + operand + "`: " + error.getDescription(), error);
                }
                break;
            case CIDR:
                network = new Addresses.Network(operand);
                break;
            default:
                words.add(asCompared(operand));
        }
    }

    private String asCompared(String operand) {
        boolean isAddress = parameter.place == Parameter.Place.CLIENT_IP && operator != Operator.PREFIX;
        byte[] address = isAddress ? Addresses.parse(operand) : null;
        if (address != null) {
            return Addresses.text(address);
        }
        return Bytes.of(parameter.place == Parameter.Place.HOST ? operand.toLowerCase(Locale.ROOT) : operand);
    }

    boolean holds(Request request) {
        if (operator == Operator.CIDR) {
            return network.contains(request.clientIp());
        }
        List<String> values = parameter.values(request);
        switch (operator) {
            case EXISTS:
                return !values.isEmpty();
            case NOT_EXISTS:
                return values.isEmpty();
            case NOT_AMONG:
                return Collections.disjoint(words, values);
            default:
                return values.stream().anyMatch(this::holdsFor);
        }
    }

    private boolean holdsFor(String value) {
        switch (operator) {
            case PERCENTAGE:
                return Long.remainderUnsigned(XxHash64.hash(Bytes.raw(value)), 100) < percent;
            case REGEX:
                return matches(value);
            case PREFIX:
                return words.stream().anyMatch(value::startsWith);
            default:
                return words.contains(value);
        }
    }

    private boolean matches(String value) {
        String text = Bytes.text(value);
        try {
            return text != null && pattern.matcher(new Bounded(text)).matches();
        } catch (TooManySteps | StackOverflowError tooMuch) {
            return false;
        }
    }

    /** Ends a match that takes too long. */
    private static final class TooManySteps extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    private static final class Bounded implements CharSequence {
        private final String text;
        private int steps;

        Bounded(String text) {
            this.text = text;
        }

        @Override
        public char charAt(int index) {
            if (++steps > REGEX_STEPS_MAX) {
                throw new TooManySteps();
            }
            return text.charAt(index);
        }

        @Override
        public int length() {
            return text.length();
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return text.substring(start, end);
        }
    }
}
