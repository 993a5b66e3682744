package io.laneway.agent.discovery;

import io.laneway.agent.decision.Condition;
import io.laneway.agent.decision.Lane;
import io.laneway.agent.decision.Parameter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * How requests enter a lane: by content or by ratio. What this agent does not know of it is refused: whoever else would
 * enter a lane, or not, would be wrong.
 */
final class Entries {
    private static final Parameter.Place[] NAMED = {
        Parameter.Place.HEADER, Parameter.Place.QUERY, Parameter.Place.COOKIE, Parameter.Place.CLAIM
    };
    private static final int ATTRIBUTE = 5;
    private static final Parameter.Place[] ATTRIBUTES = {
        Parameter.Place.PATH, Parameter.Place.METHOD, Parameter.Place.HOST, Parameter.Place.CLIENT_IP
    };

    private Entries() {}

    static void content(ProtobufReader in, Lane lane) {
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field == 1) {
                lane.meetAny = in.flag();
            } else if (field == 2) {
                lane.conditions.add(condition(in.message()));
            } else {
                throw unknown("content", field);
            }
        }
    }

    static void ratio(ProtobufReader in, Lane lane) {
        lane.byRatio = true;
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field == 1) {
                lane.percentHundredths = (int) in.number();
            } else if (field == 2) {
                lane.stickyBy = parameter(in.message());
            } else {
                throw unknown("ratio", field);
            }
        }
    }

    private static Parameter parameter(ProtobufReader in) {
        Parameter parameter = null;
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field <= NAMED.length) {
                parameter = new Parameter(NAMED[field - 1], in.text());
            } else if (field == ATTRIBUTE) {
                int attribute = (int) in.number();
                if (attribute < 1 || attribute > ATTRIBUTES.length) {
                    throw unknown("attribute", attribute);
                }
                parameter = new Parameter(ATTRIBUTES[attribute - 1], "");
            } else {
                throw unknown("parameter", field);
            }
        }
        if (parameter == null) {
            throw new IllegalArgumentException("an entry without parameter");
        }
        return parameter;
    }

    private static Condition condition(ProtobufReader in) {
        Parameter parameter = null;
        Condition.Operator operator = null;
        List<String> operands = Collections.emptyList();
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field == 1) {
                parameter = parameter(in.message());
                continue;
            }
            operator = operator(field);
            switch (field) {
                case 4:
                case 5:
                    operands = values(in.message());
                    break;
                case 6:
                    operands = Collections.singletonList(Long.toString(in.number()));
                    break;
                case 9:
                case 10:
                    in.skip();
                    break;
                default:
                    operands = Collections.singletonList(in.text());
            }
        }
        if (parameter == null || operator == null) {
            throw new IllegalArgumentException("a condition without parameter or operator");
        }
        return new Condition(parameter, operator, operands);
    }

    private static Condition.Operator operator(int field) {
        switch (field) {
            case 2:
            case 4:
                return Condition.Operator.AMONG;
            case 3:
            case 5:
                return Condition.Operator.NOT_AMONG;
            case 6:
                return Condition.Operator.PERCENTAGE;
            case 7:
                return Condition.Operator.REGEX;
            case 8:
                return Condition.Operator.PREFIX;
            case 9:
                return Condition.Operator.EXISTS;
            case 10:
                return Condition.Operator.NOT_EXISTS;
            case 11:
                return Condition.Operator.CIDR;
            default:
                throw unknown("operator", field);
        }
    }

    private static List<String> values(ProtobufReader in) {
        List<String> values = new ArrayList<>();
        for (int field = in.next(); field != 0; field = in.next()) {
            if (field == 1) {
                values.add(in.text());
            } else {
                in.skip();
            }
        }
        return values;
    }

    private static IllegalArgumentException unknown(String what, int number) {
        return new IllegalArgumentException("an entry whose " + what + " (" + number + ") this agent does not know");
    }
}
