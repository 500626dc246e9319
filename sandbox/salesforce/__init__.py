"""The Salesforce stand-in: an organisation with Digital River's package, over Salesforce's wire.

It speaks what simple-salesforce speaks: OAuth, queries with pages, bulk 2.0 query jobs, sobjects.
Its orders are those of the shop (`sandbox.shop`) and as many more as it is told to generate.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/intro_rest.htm
"""
