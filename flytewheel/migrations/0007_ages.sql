-- What goes by its age alone stays counted: an experiment has seen it. Erased and mended rows mark their users as before.
CREATE OR REPLACE FUNCTION mark_interactions() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('flytewheel.expiring', true) = 'on' THEN RETURN NULL; END IF;
    INSERT INTO recounts (source, user_id) SELECT DISTINCT source, user_id FROM gone
        WHERE source IN (SELECT name FROM experiments WHERE state <> 'draft');
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION mark_answers() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('flytewheel.expiring', true) = 'on' THEN RETURN NULL; END IF;
    INSERT INTO recounts (source, user_id) SELECT DISTINCT i.source, i.user_id FROM gone JOIN interactions i USING (interaction_id)
        WHERE i.source IN (SELECT name FROM experiments WHERE state <> 'draft');
    RETURN NULL;
END $$;
