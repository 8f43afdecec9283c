{{ config(materialized='view') }}

-- what claims to be measured on a later day than the build's waits for that day
select *
from {{ ref('fct_readings') }}
where reading_date <= (select day from {{ source('build', 'as_of') }})
