select current_database()::text, current_setting('server_version_num')::int,
       extract(epoch from now() - coalesce(
         (select stats_reset from pg_stat_database where datname = current_database()),
         pg_postmaster_start_time()))::float8,
       pg_is_in_recovery(), current_setting('block_size')::int8
