"""input() and getpass() over the stdin channel."""


def test_input(kernel):
    cell = kernel.execute("name = input('Who? '); print('hello', name)", allow_stdin=True)
    assert kernel.client.answer("Ada") == {"prompt": "Who? ", "password": False}
    assert cell.wait().stdout == "hello Ada\n"


def test_input_request_belongs_to_the_cell(kernel):
    cell = kernel.execute("input('p')", allow_stdin=True)
    kernel.client.pump_until(lambda: kernel.client.inputs, 10)
    assert kernel.client.inputs[0]["parent_header"]["msg_id"] == cell.msg_id
    kernel.client.answer("é中\U0001F600")
    assert cell.wait().result == "'é中\U0001F600'"


def test_output_comes_before_the_question(kernel):
    cell = kernel.execute("print('first', end=''); input('p')", allow_stdin=True)
    kernel.client.pump_until(lambda: kernel.client.inputs, 10)
    cell.wait_for(lambda cell: cell.stdout == "first", 10)
    kernel.client.answer("")
    assert cell.wait().result == "''"


def test_getpass(kernel):
    cell = kernel.execute("import getpass; secret = getpass.getpass('Key: ')", allow_stdin=True)
    assert kernel.client.answer("hidden") == {"prompt": "Key: ", "password": True}
    assert cell.wait().status == "ok"
    assert "hidden" not in cell.stdout + cell.stderr
    assert kernel.run("secret").result == "'hidden'"


def test_several_questions(kernel):
    cell = kernel.execute("[input(str(n)) for n in range(5)]", allow_stdin=True)
    for number in range(5):
        assert kernel.client.answer(f"a{number}")["prompt"] == str(number)
    assert cell.wait().result == "['a0', 'a1', 'a2', 'a3', 'a4']"


def test_allow_stdin_false(kernel):
    cell = kernel.run("input('no')", allow_stdin=False)
    assert cell.content["ename"] == "StdinNotImplementedError"
    assert not kernel.client.inputs
    cell = kernel.run("import getpass; getpass.getpass('no')", allow_stdin=False)
    assert cell.content["ename"] == "StdinNotImplementedError"


def test_end_of_file(kernel):
    cell = kernel.execute("input('?')", allow_stdin=True)
    kernel.client.answer("\x04")
    assert cell.wait().content["ename"] == "EOFError"


def test_stale_answer_is_not_used(kernel):
    kernel.client.kc.input("stale")
    kernel.client.quiet()
    cell = kernel.execute("input('?')", allow_stdin=True)
    kernel.client.answer("right")
    assert cell.wait().result == "'right'"


def test_interrupt_inside_input(kernel):
    cell = kernel.execute("input('?')", allow_stdin=True)
    kernel.client.pump_until(lambda: kernel.client.inputs, 10)
    kernel.km.interrupt_kernel()
    assert cell.wait().content["ename"] == "KeyboardInterrupt"
    kernel.client.inputs.clear()
    assert kernel.run("1+1").result == "2"


def test_late_answer_after_an_interrupt_is_not_used(kernel):
    test_interrupt_inside_input(kernel)
    kernel.client.kc.input("late")
    kernel.client.quiet()
    cell = kernel.execute("input('again')", allow_stdin=True)
    kernel.client.answer("new")
    assert cell.wait().result == "'new'"


def test_debugger_asks_over_stdin(kernel):
    cell = kernel.execute("import pdb; value = 1; pdb.set_trace(); value", allow_stdin=True)
    kernel.client.answer("p value + 41")
    cell.wait_for(lambda cell: "42" in cell.stdout, 20)
    kernel.client.answer("c")
    assert cell.wait().status == "ok"


def test_question_goes_to_the_client_that_ran_the_cell(kernel):
    other = kernel.new_client()
    cell = other.execute("input('mine')", allow_stdin=True)
    assert other.answer("two")["prompt"] == "mine"
    assert cell.wait().result == "'two'"
    kernel.client.quiet()
    assert not kernel.client.inputs
