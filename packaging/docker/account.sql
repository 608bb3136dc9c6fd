-- What `headwater grants --all` prints, for the account of docker-compose.yml.
CREATE USER IF NOT EXISTS 'headwater'@'%' IDENTIFIED BY 'headwater';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'headwater'@'%';
GRANT SELECT ON `openmrs`.* TO 'headwater'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON `openmrs`.* TO 'headwater'@'%';
GRANT CREATE, ALTER, SELECT, INSERT, UPDATE, DELETE ON `headwater`.* TO 'headwater'@'%';
