"""Asks a control plane what its OpenAPI document lets anybody ask, as each of several callers.

What is asked is made by schemathesis from the document: requests as it describes them, and requests that it rules out.
Each is asked by every caller, the one who may least first. What must hold of the answers: schemathesis's checks; and that
nobody is answered with a success who may not have it, nor told of a namespace that is not his.

Reads one JSON value: where the API is, a token that may everything, the callers, objects that are there, how many requests, from which seed. Writes
what does not hold, a line each, and a last line with the counts.
"""

import collections
import json
import sys

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks as of_openapi

PREFIX = "/api/v1alpha1"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"]
ROLES = ["viewer", "operator", "admin"]
SECONDS_MAX = 60

CHECKS = [
    not_a_server_error,
    of_openapi.status_code_conformance,
    of_openapi.content_type_conformance,
    of_openapi.response_headers_conformance,
    of_openapi.response_schema_conformance,
    of_openapi.negative_data_rejection,
]

# What the document describes completely: whatever it lets anybody ask is answered. Elsewhere it depends on what is there, or
# on more than a schema says (a ratio beside a condition, a window of 30 days at most).
DESCRIBED = {
    ("GET", path)
    for path in (
        "/session /status /instances /services /events /tokens /users /api-tokens /promotions"
        " /promotions/{namespace}/{name} /audit /audit/{number} /namespaces/{namespace}/{plural}/{name}"
    ).split()
} | {
    ("DELETE", "/tokens/{id}"),
    ("DELETE", "/api-tokens/{id}"),
    ("DELETE", "/users/{name}"),
    ("POST", "/users/{name}/password"),
}


# It does not end.
ENDLESS = {f"{PREFIX}/tap"}

# What is wrong with objects is this endpoint's answer, not its refusal.
NOT_OF = {("POST", "/check"): [of_openapi.negative_data_rejection]}


def main():
    asked = json.load(sys.stdin)
    load_all_checks()
    base = f"http://{asked['address']}"
    document = requests.get(f"{base}{PREFIX}/openapi.json", timeout=SECONDS_MAX).json()
    schema = schemathesis.openapi.from_dict(document)
    # Who asks is a caller's to say.
    schema.config.generation.with_security_parameters = False
    run = Run(base, asked)
    operations = [operation.ok() for operation in schema.get_all_operations()]
    operations = [operation for operation in operations if operation.path not in ENDLESS]
    # What reads first: what it reads is there still. Who signs out is nobody afterwards.
    rank = {"get": 0, "post": 1, "put": 2, "patch": 3, "delete": 4}
    operations.sort(key=lambda it: (it.path.endswith("/sign-out"), rank[it.method]))
    for operation in operations:
        run.ask(operation)
    run.ask_by_other_methods(document)
    print(f"{run.requests} requests, {len(run.broken)} of their kinds wrong: {dict(sorted(run.statuses.items()))}")
    sys.exit(1 if run.broken else 0)


def signed_in(base, machine, caller):
    """The token of a user of this role: made by an admin, let in, with a password of his own."""

    def post(path, body, token):
        fields = {"authorization": f"Bearer {token}"} if token else {}
        answer = requests.post(f"{base}{PREFIX}{path}", json=body, headers=fields, timeout=SECONDS_MAX)
        if not answer.ok:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    name = caller["name"]
    grant = {"role": caller["role"], "namespace": caller["namespace"]}
    once = post("/users", {"name": name, "grants": [grant]}, machine)["oneTimePassword"]
    token = post("/sign-in", {"user": name, "password": once, "tokenName": "conformance"}, None)["secret"]
    post("/password", {"current": once, "new": once + once}, token)
    return token


class Run:
    """Requests of one run, and what did not hold."""

    def __init__(self, base, asked):
        self.base = base
        self.machine = asked["token"]
        self.callers = asked["callers"]
        for caller in self.callers:
            caller["token"] = signed_in(base, self.machine, caller) if caller["role"] else ""
        self.objects = asked["objects"]
        self.known = asked["known"]
        self.doable = asked["doable"]
        self.cases = asked["cases"]
        self.seed = asked["seed"]
        self.session = requests.Session()
        self.requests = 0
        self.statuses = collections.Counter()
        self.broken = {}

    def ask(self, operation):
        """Everything of one operation, by everybody."""
        self.restore()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            cases = cases_of(operation, mode, self.cases, self.seed)
            for index, case in enumerate(cases):
                self.prefer_what_is_there(case, index)
                for caller in self.callers:
                    self.ask_as(caller, operation, case)
        self.ask_what_can_be_done(operation)

    def ask_what_can_be_done(self, operation):
        """What whoever may can do: of random requests hardly one can be, and of that nobody would be refused anything."""
        for wanted in self.doable:
            if (wanted["method"], PREFIX + wanted["path"]) != (operation.method.upper(), operation.path):
                continue
            body = {"body": wanted["body"], "media_type": wanted["type"]} if "body" in wanted else {}
            case = operation.Case(path_parameters=wanted.get("holes", {}), **body)
            answers = [self.ask_as(caller, operation, case, True) for caller in self.callers]
            if not any(answer.status_code < 300 for answer in answers):
                self.note(self.callers[-1], case, answers[-1], "nobody can do it")
            self.restore()

    def prefer_what_is_there(self, case, index):
        """Of a namespace, a name and the like one that is there every other time: of others there is little to answer."""
        if index % 2 == 0 and not case.meta.is_negative_at(ParameterLocation.PATH):
            for hole in case.path_parameters or {}:
                there = self.known.get(hole)
                if there:
                    case.path_parameters[hole] = there[index // 2 % len(there)]
        # A watch does not end: what may stand beside `watch` is asked without it.
        (case.query or {}).pop("watch", None)

    def restore(self):
        """Makes what is to be there again: somebody who may has perhaps deleted it."""
        answer = self.session.post(
            f"{self.base}{PREFIX}/apply",
            json={"objects": self.objects},
            headers=fields_of({"token": self.machine}),
            timeout=SECONDS_MAX,
        )
        if answer.status_code != 200:
            raise SystemExit(f"the sample resources: {answer.status_code} {answer.text}")

    def ask_as(self, caller, operation, case, can_be_done=False):
        headers = fields_of(caller)
        response = case.call(base_url=self.base, headers=headers, session=self.session, timeout=SECONDS_MAX)
        self.requests += 1
        self.statuses[response.status_code] += 1
        path = operation.path.removeprefix(PREFIX)
        key = (operation.method.upper(), path)
        checks = [check for check in CHECKS if check not in NOT_OF.get(key, ())]
        if key in DESCRIBED:
            checks.append(of_openapi.positive_data_acceptance)
        try:
            case.validate_response(response, checks=checks, headers=headers)
        except FailureGroup as group:
            for failure in group.exceptions:
                self.note(caller, case, response, f"{failure.title}: {failure.message}")
        if 200 <= response.status_code < 300:
            # What cannot be read is of no namespace: a check tells what is wrong with it, and no more.
            is_judged = can_be_done or key != ("POST", "/check")
            if (is_judged or not caller["token"]) and not may(caller, *key, case):
                self.note(caller, case, response, "answered with a success what he may not ask")
            if key == ("DELETE", "/namespaces/{namespace}/{plural}/{name}"):
                self.expect_gone(caller, case, response)
            others = namespaces_told(response) - {caller["namespace"]}
            if caller["namespace"] != "*" and others:
                self.note(caller, case, response, f"told of {', '.join(sorted(others))}")
        return response

    def expect_gone(self, caller, case, response):
        """What was deleted is there no more; then it is made again, for who comes next."""
        there = self.session.get(response.request.url.split("?")[0], headers=fields_of(caller), timeout=SECONDS_MAX)
        if there.status_code != 404:
            self.note(caller, case, response, f"deleted, and answered with {there.status_code}")
        self.restore()

    def note(self, caller, case, response, what):
        """Each kind of failure once, with the first request that shows it."""
        kind = (case.operation.label, caller["name"], response.status_code, what.split("\n")[0])
        if kind in self.broken:
            return
        self.broken[kind] = what
        sent = response.request
        body = sent.body if isinstance(sent.body, str) else (sent.body or b"").decode(errors="replace")
        print(f"WRONG {case.operation.label} as {caller['name']}: {response.status_code}: {what}")
        print(f"  {sent.method} {sent.url}\n  {body[:600]}\n  -> {response.text[:600]}", flush=True)

    def ask_by_other_methods(self, document):
        """By a method that a path does not have: refused, and told which it has."""
        for path, item in document["paths"].items():
            declared = {method.upper() for method in item} & set(METHODS)
            for hole, name in (("{namespace}", "default"), ("{plural}", "lanes"), ("{name}", "x")):
                path = path.replace(hole, name)
            for method in METHODS:
                # A path of one word is that of a kind, too.
                if method in declared:
                    continue
                # On a connection of its own: whoever is refused before its body has come is closed on.
                answer = requests.request(
                    method, self.base + path, headers=fields_of({"token": self.machine}), json={}, timeout=SECONDS_MAX
                )
                self.requests += 1
                allowed = {it.strip() for it in answer.headers.get("allow", "").split(",")}
                if answer.status_code != 405 or not declared <= allowed:
                    kind = (path, method, answer.status_code)
                    self.broken[kind] = method
                    print(f"WRONG {method} {path}: {answer.status_code}, allowed are {sorted(allowed)}, not {sorted(declared)}")


def cases_of(operation, mode, count, seed):
    """So many requests for one operation, the same from the same seed. Of what cannot be wrong there are none."""
    cases = []
    chosen = hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @hypothesis.seed(seed)
    @chosen
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def take(case):
        cases.append(case)

    try:
        take()
    except hypothesis.errors.Unsatisfiable:
        pass
    return cases


def fields_of(caller):
    # Somebody asks for somebody else, so that it does not count whose process this is.
    fields = {"via": "1.1 conformance"}
    if caller["token"]:
        fields["authorization"] = f"Bearer {caller['token']}"
    return fields


def may(caller, method, path, case):
    """Whether somebody may have this answered with a success. Said once more, by what a role is for."""
    if path == "/sign-in":
        return True
    if not caller["token"]:
        return False
    role = ROLES.index(caller["role"])
    everywhere = caller["namespace"] == "*"
    if path.startswith("/users"):
        return role == 2 and everywhere
    if path.startswith("/tokens") and role < 2:
        return False
    body = case.body if isinstance(case.body, dict) else {}
    written = body.get("objects") if path in ("/apply", "/delete") else None
    is_dry = "dryRun" in (case.query or {}) or body.get("dryRun") is True or written == []
    harmless = method == "GET" or path in {"/explain", "/check", "/session", "/password", "/sign-out"}
    harmless = harmless or is_dry or path.startswith("/api-tokens")
    if not harmless and role < 1:
        return False
    if path.startswith("/audit"):
        # Of whose object an entry is, the handler looks at.
        return True
    if harmless and path not in {"/check", "/apply", "/delete"} and "{namespace}" not in path:
        return True
    places, kinds = concerned(case)
    if not places <= {caller["namespace"]} and not everywhere:
        return False
    is_installations = not harmless and kinds & {"servicesources", "ServiceSource"}
    return not is_installations or (role == 2 and everywhere)


def concerned(case):
    """The namespaces of what is asked, and the kinds."""
    holes = case.path_parameters or {}
    if "namespace" in holes:
        return {holes["namespace"]}, {holes.get("plural")}
    body = case.body if isinstance(case.body, dict) else {}
    listed = body.get("objects")
    objects = [it for it in (listed if isinstance(listed, list) else [body]) if isinstance(it, dict)]
    places = [it.get("metadata") if isinstance(it.get("metadata"), dict) else it for it in objects]
    return (
        {it.get("namespace", "default") for it in places},
        {holes.get("plural")} | {it.get("kind") for it in objects if isinstance(it.get("kind"), str)},
    )


def namespaces_told(response):
    """Of which objects an answer tells, by their namespaces."""
    if "json" not in (response.headers.get("content-type") or [""])[0]:
        return set()
    items = response.json()
    items = items.get("items", []) if isinstance(items, dict) else items
    objects = [it for it in items if isinstance(it, dict)]
    places = [it.get("metadata") or it.get("object") or it.get("lane") or {} for it in objects]
    return {it["namespace"] for it in places if isinstance(it, dict) and "namespace" in it}


if __name__ == "__main__":
    main()
