"""The job types that come with the platform; each module here is light to import."""
