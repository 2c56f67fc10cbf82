"""Types command lines into an interactive shell on a pseudoterminal, and prints what the program received.

Arguments: the shell, the completion script, and the lines to type, in which a TAB completes. `rawlog` is a function that
prints its arguments. The output is a JSON list with one entry per line.
"""

import json
import os
import pty
import re
import sys
import tempfile

PROMPT = "READY> "
PRINT = "rawlog() { printf 'ARGS<%s>\\n' \"$*\"; }"

shell, script, lines = sys.argv[1], sys.argv[2], sys.argv[3:]
home = tempfile.mkdtemp()
env = {"PATH": os.environ["PATH"], "HOME": home, "TERM": "vt100", "LC_ALL": "C.UTF-8", "ZDOTDIR": home}
if shell == "bash":
    setup = f"PS1='{PROMPT}'\nbind 'set enable-bracketed-paste off'\n{PRINT}\nsource '{script}'\n"
    command = ["bash", "--noprofile", "--rcfile", f"{home}/setup", "-i"]
elif shell == "zsh":
    setup = f"PS1='{PROMPT}'\nunsetopt prompt_sp\nautoload -Uz compinit && compinit -u -D\n{PRINT}\nsource '{script}'\n"
    command = ["zsh", "-d", "-i"]
else:
    setup = (
        f"function fish_prompt; echo -n '{PROMPT}'; end\nset -g fish_greeting\n"
        f"function rawlog; printf 'ARGS<%s>\\n' \"$argv\"; end\nsource '{script}'\n"
    )
    command = ["fish", "--no-config", "--init-command", f"source {home}/setup"]
for name in ("setup", ".zshrc"):
    with open(f"{home}/{name}", "w") as file:
        file.write(setup)

child, terminal = pty.fork()
if child == 0:
    os.execvpe(command[0], command, env)


def read_until(pattern: str, text: str = "") -> str:
    """Reads the terminal until its output matches; returns the output."""
    while not re.search(pattern, text):
        text += os.read(terminal, 65536).decode(errors="replace")
    return text


received = []
read_until(PROMPT)
for line in lines:
    os.write(terminal, line.encode() + b"\r")
    output = read_until(r"ARGS<[^>]*>[\s\S]*" + PROMPT)
    received.append(re.search(r"ARGS<([^>]*)>", output).group(1))
os.write(terminal, b"exit\r")
os.close(terminal)
os.waitpid(child, 0)
print(json.dumps(received))
