def test_a_fresh_home_issues_one_token_and_tells_of_the_secret_once(cli):
    first = cli("issue", "--subject", "ci", "-q")
    assert first.code == 0
    assert first.err == "notice: made a store; root secret: ~/.config/tokenctl/keys/local (0600)\n"
    assert len(first.out) == 80
    second = cli("issue", "--subject", "ci", "-q")
    assert (second.code, second.err) == (0, "")
