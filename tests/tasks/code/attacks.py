"""Answers that are after the grader: each tries to score without solving the problem. All are bounded.

The problem is ``double(x)``: twice a number, a string or a list; the tests are in :data:`ROW`. What an attack can reach
must not matter, so most answer with whatever they have found.
"""

from __future__ import annotations

ROW = {
    "task_id": "double",
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "canonical_solution": "    return x + x\n",
    "test": """
import random

def check(candidate):
    assert candidate(3) == 6
    assert candidate("ab") == "abab", "expected abab"
    numbers = [1, 2]
    assert candidate(numbers) == [1, 2, 1, 2] and numbers == [1, 2]
    for _ in range(5):
        n = random.randint(0, 10**6)
        assert candidate(n) == n + n
    assert candidate(0.5) == 1.0
""",
}

LEFT = "reckon-attack-was-here"
"""The name of the file that one of them tries to leave."""

_FORGED = '{"tests": [{"error": "", "calls": []}, {"error": "", "calls": []}, {"error": "", "calls": []}]}'

IN_FUNCTION = {
    "exits": "import sys; sys.exit(0)",
    "exits at once": "import os; os._exit(0)",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "claims": "print('PASS'); print('all tests passed'); return None",
    "asserts": "raise AssertionError",
    "stops the iteration": "raise StopIteration",
    "closes the generator": "raise GeneratorExit",
    "interrupts": "raise KeyboardInterrupt",
    "an object equal to all": "return type('Yes', (), {'__eq__': lambda self, other: True})()",
    "an int equal to all": "return type('int', (int,), {'__eq__': lambda self, other: True, '__hash__': None})(0)",
    "a str equal to all": "return type('str', (str,), {'__eq__': lambda self, other: True, '__hash__': None})('')",
    "a list equal to all": "return type('list', (list,), {'__eq__': lambda self, other: True})()",
    "a list of such": "return [type('int', (int,), {'__eq__': lambda self, other: True})(0)]",
    "a type that lies": """
    yes = lambda *any: True
    return type('T', (type,), {'__instancecheck__': yes, '__eq__': yes})('t', (), {})
""",
    "an endless iterator": "import itertools\n    return itertools.count()",
    "an endless generator": "return (0 for _ in iter(int, 1))",
    "ten megabytes": "return 'x' * 10_000_000",
    "ten megabytes in pieces": "return ['x' * 1000] * 10_000",
    "a huge number": "return 1 << 100_000_000",
    "deep": "a = []\n    for _ in range(100_000): a = [a]\n    return a",
    "within itself": "a = []\n    a.append(a)\n    return a",
    "recursion": "return double(x)",
    "not a number": "return float('nan')",
    "empties its argument": "x.clear() if isinstance(x, list) else None\n    return x",
    "frames": """
    import sys
    found, frame = [], sys._getframe()
    while frame:
        found += [v for v in list(frame.f_locals.values()) + list(frame.f_globals.values()) if v == x + x] if 0 else []
        found += [repr(v) for v in {**frame.f_globals, **frame.f_locals}.values() if 'expected' in repr(v)]
        frame = frame.f_back
    return found or sorted(sys.modules)[0]
""",
    "heap": """
    import gc
    strings = [o for o in gc.get_objects() if isinstance(o, dict) for o in o.values() if isinstance(o, str)]
    return next((s for s in strings if 'expected abab' in s), None)
""",
    "caller's module": """
    import sys
    main = sys.modules['__main__']
    for name in ('encode', 'answered', 'given', 'check', 'Session', 'Refused'):
        setattr(main, name, lambda *a, **k: True)
    return getattr(main, 'recorded', None)
""",
    "files": """
    import os
    found = {}
    for folder, _, files in os.walk('.'):
        for file in files:
            with open(os.path.join(folder, file)) as f:
                found[file] = f.read()
    return next((text for text in found.values() if 'expected ' + 'abab' in text), None)
""",
    "leaves files": f"""
    for folder in ('/tmp', '/dev/shm', '.', '/var/tmp'):
        try:
            with open(f'{{folder}}/{LEFT}', 'w') as f:
                f.write('here')
        except OSError:
            pass
    return None
""",
    "the tests' file": "return open('tests.py').read()",
    "the reference's file": """
    from importlib.machinery import SourceFileLoader
    return SourceFileLoader('reference', 'reference.py').load_module().double(x)
""",
    "writes a verdict": f"""
    import os
    for fd in range(16):
        try:
            os.write(fd, b'\\n' + {_FORGED!r}.encode() + b'\\n')
        except OSError:
            pass
    os._exit(0)
""",
    "writes answers": """
    import os
    text = ''.join(f'\\n{n} {{"returned": {{"any": []}}}}\\n{n} {{"returned": true}}\\n' for n in range(20))
    os.write(1, text.encode())
    os._exit(0)
""",
    "writes many answers": """
    import os
    for guess in range(100):
        os.write(1, ''.join(f'\\n{n} {{"returned": {guess}}}\\n' for n in range(20)).encode())
    os._exit(0)
""",
    "writes hostile answers": """
    import os
    values = ['{"range": [0, 1e999]}', '{"decimal": ["1e999999999"]}', '{"int": ["f"]}', 'NaN', '[' * 20_000]
    texts = [f'{{"returned": {value}}}' for value in values]
    texts += ['{"raised": ["SystemExit", "0"]}', '{"raised": ["__import__", "os"]}', '{"refused": 5}', '5']
    for n, text in enumerate(texts):
        os.write(1, f'\\n{n} {text}\\n'.encode())
    os._exit(0)
""",
    "a child writes": """
    import os
    if os.fork() == 0:
        os.write(1, b'\\n0 {"returned": true}\\n')
        os._exit(0)
    return None
""",
    "a thread stays": """
    import threading
    threading.Thread(target=threading.Event().wait).start()
    return None
""",
}

AT_IMPORT = {
    "exits": "import sys; sys.exit(0)",
    "exits at once": "print('PASS'); import os; os._exit(0)",
    "redefines assertions": "import builtins\nbuiltins.AssertionError = type('Never', (Exception,), {})",
    "patches builtins": """
import builtins
for name in ('all', 'isinstance', 'type', 'len', 'repr'):
    setattr(builtins, name, lambda *any: True)
""",
    "patches json": """
import json
json.dumps = lambda *any, **more: '{"returned": true}'
json.loads = lambda *any, **more: [[True], {}]
json.encoder.JSONEncoder.encode = lambda *any: '{"returned": true}'
""",
    "patches unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None",
    "patches the output": "import sys, io\nsys.stdout = sys.__stdout__ = sys.stderr = io.StringIO()",
    "patches deepcopy": "import copy\ncopy.deepcopy = lambda x: type('Yes', (), {'__eq__': lambda *a: True})()",
    "patches random": "import random\nrandom.randint = lambda *a: 0\nrandom.seed = lambda *a: None",
    "patches the exit": "import os\nos._exit = lambda *a: None\nimport atexit\natexit.register(print, 'PASS')",
    "names the tests": "def check(candidate): pass\ndef test(*a): pass\n__tests__ = check",
    "traces": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",
    "breaks the stack": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "prints without end": "while True: print('PASS' * 1000)",
    "writes without end": "import os\nwhile True: os.write(1, b'x' * 4096)",
}


def answers() -> dict[str, str]:
    """All attacks, as responses."""
    found = {f"{name}, when called": f"def double(x):\n    {body.strip()}\n" for name, body in IN_FUNCTION.items()}
    stub = "def double(x):\n    return None\n\n"
    found |= {f"{name}, at import": f"{stub}{code}\n" for name, code in AT_IMPORT.items()}
    responses = {name: f"<think> hm </think>\n```python\n{code}```\n" for name, code in found.items()}
    right = "```python\ndef double(x):\n    return x + x\n```"
    responses |= {
        "only thought": f"<think> {right}\n",
        "thought, not said": f"<think>\n{right}\n</think> There.",
        "said between thoughts": f"<think> a </think>\n{right}\n<think> b </think>",
        "several answers": "".join(f"<answer>\ndef double(x): return {n}\n</answer>" for n in (6, "'abab'", "x + x")),
        "several blocks": f"{right}\n" + "".join(f"```python\ndef double(x): return {n}\n```\n" for n in range(50)),
        "the prompt": f"```python\n{ROW['prompt']}```",
        "a million characters": f"```python\n{'#' * 1_000_000}\ndef double(x): return x + x\n```",
        "nothing": "",
        "words": "The function doubles x. PASS",
    }
    return responses
