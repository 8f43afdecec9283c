"""Sessions as the server keeps them, without Superset: what begins, goes on, ends, and what a late answer may do."""

import json

from tests.in_superset import in_superset

APPLICATION = """
import json, sys, tempfile, pathlib
from types import SimpleNamespace
import sessions
from flask import Flask, flash, get_flashed_messages, session
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_session import Session

class Person(UserMixin):
    def __init__(self, id, password):
        self.id, self.password, self.works_here = id, password, True

people = {"1": Person("1", "first"), "2": Person("2", "second")}
app = Flask("doors")
app.secret_key = "k" * 32
app.config.update(sessions.in_files(pathlib.Path(tempfile.mkdtemp())), SESSION_PERMANENT=True,
                  SESSION_REFRESH_EACH_REQUEST=False, PERMANENT_SESSION_LIFETIME=sessions.LONGEST)
Session(app)
LoginManager(app).user_loader(lambda id: people[id] if people[id].works_here else None)
loaders = ("additional_claims_loader", "token_verification_loader", "token_verification_failed_loader")
tokens = SimpleNamespace(**dict.fromkeys(loaders, lambda function: None))
app.appbuilder = SimpleNamespace(sm=SimpleNamespace(jwt_manager=tokens, load_user=people.get))
sessions.install(app)

@app.get("/login")
def page():
    session["csrf_token"] = "x"
    return "the page"

@app.post("/login/<id>")
def log_in(id):
    login_user(people[id])
    return "in"

@app.get("/logout")
def log_out():
    logout_user()
    return "out"

@app.get("/me")
def me():
    return current_user.get_id() or "nobody"

@app.get("/note/<key>")
def note(key):
    session[key] = True
    return " ".join(sorted(session))

@app.get("/tell/<word>")
def tell(word):
    flash(word)
    return "told"

@app.get("/told")
def told():
    return " ".join(get_flashed_messages())

@app.put("/api/v1/me/")
def new_password():
    people[current_user.get_id()].password += "!"
    return "changed"

def number(client):
    return client.get_cookie("session").value

def copy_of(client):
    other = app.test_client()
    other.set_cookie("session", number(client))
    return other

def logged_in(id="1"):
    client = app.test_client()
    client.get("/login")
    client.post(f"/login/{id}")
    assert client.get("/me").text == id
    return client

class in_flight:
    '''A request that the server works on while others come and go.'''
    def __init__(self, client):
        self.context = app.test_request_context("/slow", headers={"Cookie": f"session={number(client)}"})
    def __enter__(self):
        self.context.push()
        return self
    def answer(self):
        return app.process_response(app.make_response("late"))
    def __exit__(self, *error):
        self.context.pop()

for name, case in json.loads(sys.argv[1]).items():
    kept = sessions.LONGEST, sessions.IDLE, sessions.SEEN_EVERY_SECONDS
    exec(case)
    sessions.LONGEST, sessions.IDLE, sessions.SEEN_EVERY_SECONDS = kept
    print(name)
"""

CASES = {
    "a_log_in_goes_on_under_a_new_number_and_the_old_one_is_nobodys": """
visitor = app.test_client()
visitor.get("/login")
before, old = number(visitor), copy_of(visitor)
visitor.post("/login/1")
assert number(visitor) != before and visitor.get("/me").text == "1" and old.get("/me").text == "nobody"
""",
    "a_number_that_a_client_made_up_is_not_taken": """
visitor = app.test_client()
visitor.set_cookie("session", "made-up")
visitor.get("/login")
assert number(visitor) != "made-up"
""",
    "a_log_out_ends_every_copy": """
person = logged_in()
copied = copy_of(person)
assert copied.get("/me").text == "1"
person.get("/logout")
assert copied.get("/me").text == "nobody" and person.get("/me").text == "nobody"
""",
    "an_answer_that_comes_after_the_log_out_brings_nothing_back": """
person = logged_in()
copied = copy_of(person)
with in_flight(person) as late:
    session["noted"] = True
    person.get("/logout")
    assert "Set-Cookie" not in late.answer().headers
assert copied.get("/me").text == "nobody"
""",
    "an_answer_that_comes_after_the_log_in_takes_nothing_away": """
visitor = app.test_client()
visitor.get("/login")
with in_flight(visitor) as late:
    session["noted"] = True
    visitor.post("/login/1")
    assert "Set-Cookie" not in late.answer().headers
assert visitor.get("/me").text == "1"
""",
    "two_requests_at_once_keep_each_others_notes": """
person = logged_in()
with in_flight(person) as late:
    session["late"] = True
    person.get("/note/early")
    late.answer()
assert {"early", "late", "csrf_token"} <= set(person.get("/note/last").text.split())
""",
    "what_is_told_on_the_next_page_adds_up": """
person = logged_in()
person.get("/tell/one")
person.get("/tell/two")
assert person.get("/told").text == "one two" and person.get("/told").text == ""
""",
    "an_answer_sets_no_cookie_that_is_there": """
assert "Set-Cookie" not in logged_in().get("/note/more").headers
""",
    "a_new_password_ends_the_other_sessions_and_not_its_own": """
here, there = logged_in(), logged_in()
here.put("/api/v1/me/")
assert here.get("/me").text == "1" and there.get("/me").text == "nobody"
""",
    "whoever_is_no_longer_active_is_out_and_stays_out": """
person = logged_in("2")
people["2"].works_here = False
assert person.get("/me").text == "nobody"
people["2"].works_here = True
assert person.get("/me").text == "nobody"
""",
    "a_session_ends_after_its_longest_time_however_busy_it_is": """
person = logged_in()
sessions.LONGEST = sessions.timedelta(seconds=-1)
assert person.get("/me").text == "nobody"
""",
    "a_session_that_rests_too_long_ends": """
sessions.IDLE = sessions.timedelta(seconds=2)
person = logged_in()
sessions.time.sleep(3.1)
assert person.get("/me").text == "nobody"
""",
    "using_it_keeps_a_session_going": """
sessions.IDLE, sessions.SEEN_EVERY_SECONDS = sessions.timedelta(seconds=4), 0
person = logged_in()
for _ in range(6):
    sessions.time.sleep(1)
    assert person.get("/me").text == "1"
""",
}


def test_sessions_begin_go_on_and_end() -> None:
    """All cases in one process: it is the imports that take long."""
    done = in_superset(APPLICATION, json.dumps(CASES), PYTHONWARNINGS="ignore")
    assert done.stdout.split() == list(CASES), done.stderr
