//! Who is known by what he shows, until when, and for what.

use super::*;

const NOW: SystemTime = UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    NOW + Duration::from_secs(seconds)
}

fn grant(role: Role, namespace: &str) -> Grant {
    Grant { role, namespace: namespace.to_owned() }
}

fn alice(grants: Vec<Grant>) -> Account {
    Account::User(StoredUser {
        id: "1".to_owned(),
        name: "alice".to_owned(),
        password_since: 0,
        devices: Vec::new(),
        grants,
        password: String::new(),
        must_change: false,
        created: 0,
        signed_in: None,
    })
}

fn credential(name: Option<&str>, grant: Option<Grant>) -> (StoredCredential, String) {
    let (secret, id, hash) = secret();
    let credential = StoredCredential {
        id,
        user: Some("alice".to_owned()),
        user_id: Some("1".to_owned()),
        name: name.map(str::to_owned),
        authority: name.is_none().then(|| "localhost:7600".to_owned()),
        grant,
        hash,
        created: 0,
        expires: SESSION_LASTS.as_secs(),
        used: None,
    };
    (credential, secret)
}

#[test]
fn a_session_is_good_where_it_was_made_and_until_it_ends() {
    let (session, secret) = credential(None, None);
    let mut people = People::new(vec![
        alice(vec![grant(Role::Operator, "shop")]),
        Account::Credential(session.clone()),
    ]);
    let here = Some("localhost:7600");
    let idle = SESSION_IDLE.as_secs();
    let (caller, note) = people.caller(&secret, here, at(1)).unwrap();
    assert!(note.is_none(), "not for every request");
    assert_eq!(caller.by().author.to_string(), "alice");
    assert!(caller.may(Role::Operator, "shop") && !caller.may(Role::Admin, "shop"));
    assert!(!caller.may(Role::Viewer, "other") && !caller.may_everywhere(Role::Viewer));
    for (wrong, authority) in [
        (secret.as_str(), Some("localhost:7700")),
        (&secret, None),
        (&secret[..secret.len() - 1], here),
        ("laneway_api_", here),
        ("", here),
    ] {
        assert!(people.caller(wrong, authority, at(1)).is_none(), "{wrong} {authority:?}");
    }
    // Every use makes it last, to the end.
    assert!(people.caller(&secret, here, at(idle)).unwrap().1.is_some());
    assert!(people.caller(&secret, here, at(2 * idle - 1)).is_some());
    assert!(people.caller(&secret, here, at(4 * idle)).is_none());
    let mut used = session;
    used.used = Some(SESSION_LASTS.as_secs() - 1);
    let mut people = People::new(vec![alice(vec![]), Account::Credential(used)]);
    assert!(people.caller(&secret, here, at(SESSION_LASTS.as_secs() - 1)).is_some());
    assert!(people.caller(&secret, here, at(SESSION_LASTS.as_secs())).is_none());
}

#[test]
fn a_token_may_no_more_than_its_owner_may_now() {
    let (token, secret) = credential(Some("pipeline"), Some(grant(Role::Operator, "*")));
    let mut people = People::new(vec![
        alice(vec![grant(Role::Admin, "shop"), grant(Role::Viewer, "other")]),
        Account::Credential(token),
    ]);
    let (caller, _) = people.caller(&secret, None, at(1)).unwrap();
    assert_eq!(caller.by().author.to_string(), "token pipeline of alice");
    assert_eq!(caller.grants(), [grant(Role::Operator, "shop"), grant(Role::Viewer, "other")]);
    assert!(people.is_still(&caller, at(2)));
    let mut changed = people.changed();
    let put = |account| [Change::PutAccount { account, only_there: false }];
    people.follow(&put(alice(vec![grant(Role::Viewer, "shop")])));
    assert!(changed.has_changed().unwrap());
    changed.mark_unchanged();
    assert!(!people.is_still(&caller, at(2)));
    let (caller, _) = people.caller(&secret, None, at(1)).unwrap();
    assert!(!caller.may(Role::Operator, "shop") && caller.may(Role::Viewer, "shop"));
    people.follow(&[Change::RemoveAccount(AccountId::User("alice".to_owned()))]);
    assert!(changed.has_changed().unwrap());
    assert!(people.caller(&secret, None, at(1)).is_none() && !people.is_still(&caller, at(1)));
    // What was made for one that is gone is not good for the next of the name, and not kept.
    let Account::User(mut next) = alice(vec![grant(Role::Admin, "*")]) else { unreachable!() };
    next.id = "2".to_owned();
    people.follow(&put(Account::User(next)));
    assert!(people.caller(&secret, None, at(1)).is_none());
    assert_eq!(people.ended(at(1)).len(), 1);
}

#[test]
fn what_ended_is_not_kept_and_the_oldest_makes_room() {
    let made = |created| {
        let (mut login, _) = credential(Some("login"), None);
        (login.created, login.expires) = (created, created + 100);
        Account::Credential(login)
    };
    let people: People = People::new((0..20).map(made).chain([alice(vec![])]).collect());
    assert_eq!(people.ended(at(99)).len(), 0);
    assert_eq!(people.ended(at(104)).len(), 5);
    assert_eq!(people.make_room("alice", 16, |it| it.name.is_some()).len(), 5);
    assert_eq!(people.make_room("alice", 16, |it| it.name.is_none()).len(), 0);
}

#[test]
fn a_one_time_password_is_good_for_three_days_and_a_chosen_one_for_ever() {
    let Account::User(mut user) = alice(vec![]) else { unreachable!() };
    let end = ONE_TIME_LASTS.as_secs();
    assert!(!of_control::is_over(&user, at(end)));
    user.must_change = true;
    assert!(!of_control::is_over(&user, at(end - 1)) && of_control::is_over(&user, at(end)));
}

#[test]
fn a_one_time_password_lets_nobody_do_anything_but_choose_another() {
    let (session, secret) = credential(None, None);
    let Account::User(mut user) = alice(vec![grant(Role::Admin, "*")]) else { unreachable!() };
    user.must_change = true;
    let mut people = People::new(vec![Account::User(user), Account::Credential(session)]);
    let (caller, _) = people.caller(&secret, Some("localhost:7600"), at(1)).unwrap();
    assert!(caller.must_change_password());
}

#[test]
fn names_and_grants_that_cannot_be_are_refused_by_field() {
    for good in ["alice", "a", "0", "a.b_c@d-e", &"a".repeat(63)] {
        assert!(check_user_name(good).is_ok(), "{good}");
    }
    for bad in ["", "Alice", "-a", "a b", "é", "a/b", &"a".repeat(64)] {
        assert_eq!(check_user_name(bad).unwrap_err().field.as_str(), "name", "{bad}");
    }
    for (grants, field) in [
        (vec![], "grants"),
        (vec![grant(Role::Admin, "")], "grants[0].namespace"),
        (vec![grant(Role::Admin, "a"), grant(Role::Viewer, "a")], "grants[1].namespace"),
        (vec![grant(Role::Admin, "a*")], "grants[0].namespace"),
        (vec![grant(Role::Viewer, "a"); GRANTS_MAX + 1], "grants"),
    ] {
        assert_eq!(check_grants(&grants).unwrap_err().field.as_str(), field);
    }
}
