"""What `manage.py up` makes of the environment."""

import socket
from pathlib import Path

import pytest

from config.up.options import (
    CannotStart,
    is_free,
    read_options,
    refuse_taken_ports,
    remove_run_env,
    settings_for_parts,
    write_run_env,
)


def test_without_an_environment_the_defaults_hold(tmp_path):
    options = read_options(tmp_path, {})

    assert (options.port, options.bank_port, options.carrier_port, options.workers) == (8000, 8001, 8002, 2)
    assert options.database_url is None
    assert options.redis_url is None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "PORT is 'http': give a whole number from 1 to 65533."),
        ("PORT", "0", "PORT is '0': give a whole number from 1 to 65533."),
        ("PORT", "65534", "PORT is '65534': give a whole number from 1 to 65533."),
        ("WORKERS", "-1", "WORKERS is '-1': give a whole number from 1 to 64."),
    ],
)
def test_a_value_that_makes_no_sense_gets_one_sentence(tmp_path, name, value, sentence):
    with pytest.raises(CannotStart) as refusal:
        read_options(tmp_path, {name: value})

    assert str(refusal.value) == sentence


def test_servers_of_the_environment_replace_the_embedded_ones(tmp_path):
    environment = {"DATABASE_URL": "postgres://db/shop", "REDIS_URL": "redis://queue/0"}

    values = settings_for_parts(read_options(tmp_path, environment), environment)

    assert values["DATABASE_URL"] == "postgres://db/shop"
    assert values["REDIS_URL"] == "redis://queue/0"


def test_what_a_person_set_stays(tmp_path):
    environment = {"DEBUG": "false", "BANK_URL": "https://api.stripe.com", "PORT": "9100"}

    values = settings_for_parts(read_options(tmp_path, environment), environment)

    assert values["DEBUG"] == "false"
    assert values["BANK_URL"] == "https://api.stripe.com"
    assert values["CARRIER_URL"] == "http://127.0.0.1:9102"
    assert values["PUBLIC_URL"] == "http://127.0.0.1:9100"


def test_run_env_is_for_its_owner_only_and_goes_away(tmp_path):
    options = read_options(tmp_path, {})

    path = write_run_env(options, {"DEBUG": "true", "BANK_URL": "http://127.0.0.1:8001", "DATA_DIR": str(tmp_path)})

    assert path == tmp_path / "run.env"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().splitlines()[1:] == ["DEBUG='true'", "BANK_URL='http://127.0.0.1:8001'"]

    remove_run_env(options)
    assert not path.exists()


def test_a_taken_port_gets_one_sentence():
    port = next(port for port in range(20_001, 30_000) if is_free(port - 1) and is_free(port))
    with socket.create_server(("127.0.0.1", port)):
        options = read_options(Path(), {"PORT": str(port - 1)})

        with pytest.raises(CannotStart, match=f"Port {port} is taken by another program: choose another PORT"):
            refuse_taken_ports(options, patience=0)
