-- summary: the retry delay is built from a number, never from its text
-- description: Backoff interval creation avoids scientific-notation parse failures
-- breaking: no
-- Locks: none that anybody waits for.

INSERT INTO awa.schema_version (version, description)
VALUES (7, 'Backoff interval creation avoids scientific-notation parse failures');

-- 2^attempt seconds and up to a quarter more, at most a day.  max_attempts is not used.
CREATE OR REPLACE FUNCTION awa.backoff_duration(attempt smallint, max_attempts smallint)
RETURNS interval
LANGUAGE sql VOLATILE
AS $function$
    SELECT make_interval(
        secs => least(power(2, least(attempt, 17)) * (1 + 0.25 * random()), 86400)
    )
$function$;
