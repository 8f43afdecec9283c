-- How long do trucks drive at a stretch, on average of the sessions that began on a day?
-- A session begins with the first ten minutes whose average velocity is above 5, the registry's state `driving`, and
-- ends with the next that is not; of one that has not ended the length is not known yet.
with spells as (
    select
        device_id,
        spell_start,
        is_in_state,
        lag(is_in_state) over (partition by device_id order by spell_start) as was_in_state
    from {{ ref('cube_state_spells') }}
    where tenant_id = '{{ var('tenant', 'trucks') }}'
        and state = 'driving'
),

changes as (
    select
        device_id,
        spell_start,
        is_in_state,
        lead(spell_start) over (partition by device_id order by spell_start) as next_change
    from spells
    where is_in_state <> was_in_state
)

select
    device_id as truck,
    cast(spell_start as date) as day,
    avg({{ seconds_between('spell_start', 'next_change') }}) / 60 as session_minutes
from changes
where is_in_state
group by device_id, cast(spell_start as date)
order by truck, day
