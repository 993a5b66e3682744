package io.laneway.agent.decision;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;

/** A request as a case file describes it. */
final class CaseRequest implements Request {
    private final Map<String, Object> wanted;

    CaseRequest(Map<String, Object> wanted) {
        this.wanted = wanted;
    }

    @Override
    public String method() {
        return Shared.text(wanted, "method", "GET");
    }

    @Override
    public String host() {
        return Shared.text(wanted, "host", "shop.example");
    }

    @Override
    public String path() {
        return Shared.text(wanted, "path", "/");
    }

    @Override
    public String query() {
        return Shared.text(wanted, "query", "");
    }

    @Override
    public byte[] clientIp() {
        return Addresses.parse(Shared.text(wanted, "clientIp", "127.0.0.1"));
    }

    @Override
    public List<String[]> headers() {
        List<String[]> headers = new ArrayList<>();
        Shared.list(wanted.get("headers")).forEach(header -> header.forEach(
                (name, value) -> headers.add(new String[] {name, Bytes.of((String) value)})));
        return headers;
    }

    @Override
    public String claim(String name) {
        Object claim = Shared.map(wanted.getOrDefault("claims", Collections.emptyMap())).get(name);
        return claim == null ? null : Bytes.of((String) claim);
    }
}
