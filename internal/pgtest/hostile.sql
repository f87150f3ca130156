-- What a neighbour with the right to create objects in the schema public can do to SQL that does not
-- name its schemas. Everything here fails when it is called.

SET search_path = pg_catalog;

CREATE FUNCTION public.hostile() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an object of the schema public was used: name pg_catalog in the SQL';
END $$;

-- PostgreSQL prefers a function or an operator whose types match exactly to one that takes any type,
-- wherever their schemas stand in the search_path, and for a literal one that takes text.
DO $$
DECLARE
    signature text;
BEGIN
    FOREACH signature IN ARRAY ARRAY[
        'unnest(text[])', 'unnest(integer[])', 'unnest(bigint[])', 'unnest(uuid[])',
        'cardinality(text[])', 'cardinality(uuid[])', 'convert_to(text, text)', 'format(text, bigint)', 'format(text, text)',
        'jsonb_build_object(text, double precision)', 'jsonb_build_object(text, text)',
        'pg_table_size(oid)', 'pg_indexes_size(oid)', 'pg_relation_size(oid)', 'pg_relation_size(text)', 'pg_total_relation_size(text)',
        'pg_column_size(text)', 'pg_column_size(jsonb)', 'pg_terminate_backend(integer)', 'strpos(text, character varying)',
        'make_interval(double precision)', 'to_regclass(character varying)', 'quote_ident(character varying)'
    ] LOOP
        EXECUTE format('CREATE FUNCTION public.%s RETURNS boolean LANGUAGE sql AS ''SELECT public.hostile()''', signature);
    END LOOP;
    FOREACH signature IN ARRAY ARRAY['text', 'uuid', 'bigint'] LOOP
        EXECUTE format('CREATE FUNCTION public.hostile_state(boolean, %s) RETURNS boolean LANGUAGE sql AS ''SELECT public.hostile()''', signature);
        EXECUTE format('CREATE AGGREGATE public.array_agg(%s) (SFUNC = public.hostile_state, STYPE = boolean)', signature);
    END LOOP;
END $$;

-- Whoever names public before pg_catalog in the search_path gets these, with the same types.
DO $$
DECLARE
    r record;
    polymorphic CONSTANT regtype[] := '{anyelement, anyarray, anynonarray, anycompatible, anycompatiblearray, anycompatiblenonarray}';
BEGIN
    FOR r IN
        SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments
        FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.proallargtypes IS NULL
          AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) a JOIN pg_type t ON t.oid = a WHERE t.typtype = 'p' AND a <> ALL (polymorphic))
          AND p.proname !~ '(in|out|recv|send|sel|support|handler)$'
    LOOP
        EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS boolean LANGUAGE sql AS ''SELECT public.hostile()''', r.proname, r.arguments);
    END LOOP;
    FOR r IN
        SELECT p.proname, format_type(p.proargtypes[0], NULL) AS argument
        FROM pg_proc p JOIN pg_type t ON t.oid = p.proargtypes[0]
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'a' AND p.pronargs = 1 AND t.typtype <> 'p'
    LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION public.hostile_state(boolean, %s) RETURNS boolean LANGUAGE sql AS ''SELECT public.hostile()''', r.argument);
        EXECUTE format('CREATE AGGREGATE public.%I(%s) (SFUNC = public.hostile_state, STYPE = boolean)', r.proname, r.argument);
    END LOOP;
    EXECUTE 'CREATE FUNCTION public.hostile_state(boolean) RETURNS boolean LANGUAGE sql AS ''SELECT public.hostile()''';
    EXECUTE 'CREATE AGGREGATE public.count(*) (SFUNC = public.hostile_state, STYPE = boolean)';

    FOR r IN
        SELECT DISTINCT format_type(o.oprleft, NULL) AS lefttype, format_type(o.oprright, NULL) AS righttype
        FROM pg_operator o JOIN pg_type a ON a.oid = o.oprleft JOIN pg_type b ON b.oid = o.oprright
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace
          AND (a.typtype <> 'p' OR a.oid = ANY (polymorphic)) AND (b.typtype <> 'p' OR b.oid = ANY (polymorphic))
        UNION VALUES ('oid', 'regclass')
    LOOP
        EXECUTE format('CREATE FUNCTION public.hostile_operator(%s, %s) RETURNS boolean LANGUAGE sql AS ''SELECT public.hostile()''', r.lefttype, r.righttype);
    END LOOP;
    FOR r IN
        SELECT o.oprname, format_type(o.oprleft, NULL) AS lefttype, format_type(o.oprright, NULL) AS righttype
        FROM pg_operator o JOIN pg_type a ON a.oid = o.oprleft JOIN pg_type b ON b.oid = o.oprright
        WHERE o.oprnamespace = 'pg_catalog'::regnamespace
          AND (a.typtype <> 'p' OR a.oid = ANY (polymorphic)) AND (b.typtype <> 'p' OR b.oid = ANY (polymorphic))
        UNION VALUES ('=', 'oid', 'regclass')
    LOOP
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.hostile_operator)', r.oprname, r.lefttype, r.righttype);
    END LOOP;

    FOR r IN
        SELECT typname FROM pg_type
        WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typcategory <> 'A' AND typname !~ '^_'
    LOOP
        EXECUTE format('CREATE TYPE public.%I AS ENUM ()', r.typname);
    END LOOP;
    FOR r IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') LOOP
        EXECUTE format('CREATE VIEW public.%I AS SELECT public.hostile()', r.relname);
    END LOOP;
END $$;
