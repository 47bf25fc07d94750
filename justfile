# Set up: an editable install with everything that tests and docs need.
setup:
    pip install -e '.[all,test,docs]'

# Run the tests, or a part of them: just test tests/unit -n 0
test *ARGS:
    pytest {{ARGS}}

# Run every check that CI runs.
check:
    .ci/run

# Build the docs site into build/site.
docs:
    python -m sphinx -b dirhtml -W --keep-going -q docs build/site
